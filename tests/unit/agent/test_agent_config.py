"""What the agent's configuration may be, and that each refusal says where, what and how to mend it."""

import json
from pathlib import Path

import pytest

from holdfast.agent.config import KERNEL_BOOT_ID, Address, ConfigRefused, load_config

KEY_HEX = "5a" * 32


def write(folder: Path, /, **fields: object) -> Path:
    file = folder / "agent.json"
    file.touch()
    file.write_text(json.dumps({"host_id": 1, "controllers": ["192.0.2.1:4124"], "key": KEY_HEX} | fields))
    file.chmod(0o600)
    return file


def test_a_short_configuration_is_completed(tmp_path: Path) -> None:
    config = load_config(write(tmp_path), {})
    assert (config.host_id, config.name, config.period_s) == (1, "host-1", 1.0)
    assert config.key == bytes.fromhex(KEY_HEX)
    assert config.controllers == (Address(0, "192.0.2.1", 4124),)
    assert config.boot_id == KERNEL_BOOT_ID.read_text().strip()
    assert config.heartbeat_file is None
    assert KEY_HEX not in repr(config)
    assert str(config.key) not in repr(config)


def test_everything_can_be_set(tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    key_file.touch(mode=0o600)
    key_file.write_text("a5" * 32 + "\n")
    fields = {
        "key": None, "key_file": str(key_file), "name": "rack1", "controllers": ["192.0.2.1:4124", "[2001:db8::1]:99"],
        "period_s": 0.5, "heartbeat_file": "/ds/heartbeats/1", "boot_id_env": "MY_BOOT", "hypervisor": "qemu",
        "libvirt_socket": "/run/libvirt/libvirt-sock", "total_cpu": 400, "total_memory_kb": 1 << 20,
    }  # fmt: skip
    config = load_config(write(tmp_path, **fields), {"MY_BOOT": "boot-17", "HOLDFAST_BOOT_ID": "other"})
    assert config.key == bytes.fromhex("a5" * 32)
    assert config.boot_id == "boot-17"
    assert config.controllers[1] == Address(1, "2001:db8::1", 99)
    assert str(config.controllers[1]) == "[2001:db8::1]:99"
    assert (config.name, config.period_s, config.hypervisor) == ("rack1", 0.5, "qemu")
    assert config.heartbeat_file == Path("/ds/heartbeats/1")
    assert config.libvirt_socket == Path("/run/libvirt/libvirt-sock")
    assert (config.total_cpu, config.total_memory_kb) == (400, 1 << 20)


def test_the_boot_id_may_come_from_the_environment(tmp_path: Path) -> None:
    assert load_config(write(tmp_path), {"HOLDFAST_BOOT_ID": "power-on-3"}).boot_id == "power-on-3"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_configuration_that_others_can_read_is_refused_with_the_way_out(tmp_path: Path, mode: int) -> None:
    file = write(tmp_path)
    file.chmod(mode)
    with pytest.raises(ConfigRefused, match=r"chmod 600 .*agent.json"):
        load_config(file, {})


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    key_file.write_text(KEY_HEX)
    key_file.chmod(0o644)
    with pytest.raises(ConfigRefused, match=r"chmod 600 .*key"):
        load_config(write(tmp_path, key=None, key_file=str(key_file)), {})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"host_id": None}, "'host_id' is missing"),
        ({"host_id": "1"}, "'host_id' must be a whole number"),
        ({"key": None}, "only one of them"),
        ({"key_file": "/k"}, "only one of them"),
        ({"key": "zz"}, "hexadecimal"),
        ({"key": "aa"}, "at least 16 bytes"),
        ({"key": None, "key_file": "/nonexistent/key"}, "/nonexistent/key: cannot be read: No such file"),
        ({"controllers": []}, "'controllers' must list"),
        ({"controllers": ["controller.example:4124"]}, "no names"),
        ({"controllers": ["192.0.2.1"]}, "'192.0.2.1'"),
        ({"controllers": ["192.0.2.1:0"]}, "'192.0.2.1:0'"),
        ({"controllers": [7]}, "has 7"),
        ({"period_s": 0}, "'period_s' must be"),
        ({"period_s": True}, "'period_s' must be"),
        ({"heartbeat_file": "relative"}, "'heartbeat_file' must be an absolute path"),
        ({"total_cpu": 0}, "'total_cpu'"),
        ({"name": "two\nlines"}, "'name' must be a printable"),
        ({"heartbeats": "/x"}, "unknown key 'heartbeats'; known are"),
    ],
    ids=str,
)
def test_a_mistake_is_refused_with_its_name(tmp_path: Path, fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigRefused) as caught:
        load_config(write(tmp_path, **fields), {})
    assert message in str(caught.value)
    assert KEY_HEX not in str(caught.value)


def test_a_file_that_is_no_json_object_or_not_there_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path)
    for content, message in (("{", "not JSON"), ("[]", "one JSON object")):
        file.write_text(content)
        with pytest.raises(ConfigRefused, match=message):
            load_config(file, {})
    with pytest.raises(ConfigRefused, match="No such file"):
        load_config(tmp_path / "none.json", {})


def test_a_boot_id_that_no_controller_would_accept_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigRefused, match="HOLDFAST_BOOT_ID: 'a b'"):
        load_config(write(tmp_path), {"HOLDFAST_BOOT_ID": "a b"})
