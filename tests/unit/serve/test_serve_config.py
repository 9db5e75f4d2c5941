"""What a controller can be told, and what it refuses to be told."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.serve.config import Config, ConfigError, inherited_descriptor, load, split_address


def given(directory: Path, text: str) -> Path:
    file = directory / "holdfast.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_options_win_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    file = given(tmp_path, 'var = "/srv/a"\ndead_after_s = 5\nlisten = "127.0.0.1:1"\n')
    config = load(file, {"var": Path("/srv/b"), "datastores": None})
    assert (config.var, config.dead_after_s, config.listen) == (Path("/srv/b"), 5, ("127.0.0.1:1",))
    assert (config.beacon_period_s, config.beacons) == (1.0, ("127.0.0.1:4124",))


def test_paths_that_are_not_given_lie_below_var() -> None:
    config = load(None, {"var": Path("/srv/x")})
    assert config.datastores_path == Path("/srv/x/datastores")
    assert config.heartbeats_path == Path("/srv/x/datastores/heartbeats")
    assert config.auth_path == Path("/srv/x/.one/one_auth")
    apart = Config(datastores=Path("/mnt/ds"), heartbeats=Path("/mnt/hb"), one_auth=Path("/root/.one/one_auth"))
    assert (apart.datastores_path, apart.heartbeats_path) == (Path("/mnt/ds"), Path("/mnt/hb"))
    assert apart.auth_path == Path("/root/.one/one_auth")


def test_several_networks_are_a_list(tmp_path: Path) -> None:
    config = load(given(tmp_path, 'beacons = ["10.0.0.1:4124", "[fd00::1]:4124", "fd://5"]\n'), {})
    assert [split_address(address) for address in config.beacons[:2]] == [("10.0.0.1", 4124), ("fd00::1", 4124)]
    assert [inherited_descriptor(address) for address in config.beacons] == [None, None, 5]


def test_the_site_declares_its_own_transfer_drivers_in_tables(tmp_path: Path) -> None:
    text = '[tm_mad_conf.fancy]\nLN_TARGET = "NONE"\nCLONE_TARGET = "SYSTEM"\n'
    config = load(given(tmp_path, text), {})
    assert config.tm_mad_conf == {"fancy": {"LN_TARGET": "NONE", "CLONE_TARGET": "SYSTEM"}}


@pytest.mark.parametrize("address", ["", "host", ":80", "host:", "host:port", "host:-1", "host:65536", "fd://x"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="is not an address: write ip:port"):
        load(None, {"listen": (address,)})


@pytest.mark.parametrize("key", ["beacon_period_s", "suspect_after_s", "dead_after_s", "blind_share"])
@pytest.mark.parametrize("value", ["0", "-1", "true", '"1"', "nan"])
def test_a_limit_that_is_no_positive_number_is_refused(tmp_path: Path, key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=r"must be a positive number|must hold"):
        load(given(tmp_path, f"{key} = {value}\n"), {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('tm_mad_conf = "fancy"', "tm_mad_conf must hold tables of texts: [tm_mad_conf.NAME] with lines like"),
        ("[tm_mad_conf.fancy]\nLN_TARGET = 1", "tm_mad_conf must hold tables of texts: [tm_mad_conf.fancy]"),
        ('[tm_mad_conf.fancy]\nLN_TARGET = "NONE"', "tm_mad_conf.fancy: CLONE_TARGET is missing"),
        ("patience = 3", "unknown key patience; known are accelerator, beacon_period_s,"),
        ('listen = ["127.0.0.1:99999"]', '"127.0.0.1:99999" is not an address'),
        ('beacons = "4124"', '"4124" is not an address'),
        ("listen = []", "listen must be text or a list of texts, it is []"),
        ("listen = [2633]", "listen must be text or a list of texts, it is [2633]"),
        ("var = 7", "var must be text, it is 7"),
        ("emulator = true", "emulator must be text, it is True"),
        ('log_level = "LOUD"', 'log_level is "LOUD", it must be one of DEBUG, INFO, WARNING, ERROR'),
        ('accelerator = "warp"', 'accelerator is "warp", it must be one of auto, kvm, tcg'),
        ("starts_per_host = 0", "starts_per_host must be a positive number, it is 0"),
        ("starts_per_host = 1.5", "starts_per_host must be a whole number, it is 1.5"),
        ("listen = ", "Cannot read configuration file"),
        ("listen = '\udcff'", "Cannot read configuration file"),
    ],
)
def test_what_makes_no_sense_is_refused_with_key_and_rule(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "holdfast.toml"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError) as refused:
        load(file, {})
    assert said in refused.value.message
    assert "\n" not in refused.value.message


def test_a_host_cannot_be_dead_before_it_is_suspected() -> None:
    with pytest.raises(ConfigError, match=r"they are 1\.0, 4\.0, 3\.0"):
        load(None, {"suspect_after_s": 4.0})


def test_hypervisors_of_the_site_and_the_hosts_directory_of_scripts_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "holdfast.toml"
    path.write_text('scripts_remote_dir = "/opt/one"\n[vmm_mad.own]\nTYPE = "qemu"\n')
    config = load(path, {})
    assert (config.vmm_mad, config.scripts_remote_dir) == ({"own": {"TYPE": "qemu"}}, Path("/opt/one"))
    for text, complaint in (
        ('[vmm_mad.own]\nTYPE = "vbox"\n', "vmm_mad.own: TYPE"),
        ('vmm_mad = "own"\n', "vmm_mad must hold tables of texts"),
        ('scripts_remote_dir = "/opt/it\'s"\n', "scripts_remote_dir must be an absolute path"),
        ('scripts_remote_dir = "relative"\n', "scripts_remote_dir must be an absolute path"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=complaint):
            load(path, {})
