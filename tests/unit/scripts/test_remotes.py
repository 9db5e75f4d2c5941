"""What driver scripts share is installed, kept up to date, and never overwrites what the site changed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from holdfast.serve import remotes as installed
from holdfast.serve.config import Config, ConfigError
from holdfast.serve.one_location import OneLocation
from holdfast.serve.remotes import SOURCE, install

WANTED = ("scripts_common.sh", "tm/tm_common.sh", "datastore/xpath.rb", "datastore/libfs.sh", "etc/vmm/kvm/kvmrc")


def test_the_files_are_installed_and_the_programs_among_them_can_be_run(tmp_path: Path) -> None:
    assert install(tmp_path / "remotes") == []
    for name in WANTED:
        assert (tmp_path / "remotes" / name).read_bytes() == (SOURCE / name).read_bytes()
    assert os.access(tmp_path / "remotes/datastore/xpath.rb", os.X_OK)
    assert not (tmp_path / "remotes/scripts_common.sh").stat().st_mode & stat.S_IWOTH


def test_a_new_version_replaces_what_was_installed_but_not_what_the_site_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remotes, source = tmp_path / "remotes", tmp_path / "source"
    source.mkdir()
    monkeypatch.setattr(installed, "SOURCE", source)
    for name in ("a.sh", "b.sh", "c.sh"):
        (source / name).write_text("one")
    install(remotes)
    (remotes / "b.sh").write_text("the site's")
    (remotes / "own.sh").write_text("the site's")
    for name in ("a.sh", "b.sh", "d.sh"):
        (source / name).write_text("two")
    for _ in range(2):
        assert install(remotes) == [remotes / "b.sh"]
        texts = {path.name: path.read_text() for path in remotes.glob("*.sh")}
        assert texts == {"a.sh": "two", "b.sh": "the site's", "c.sh": "one", "d.sh": "two", "own.sh": "the site's"}
    (remotes / "b.sh").write_text("two")
    assert install(remotes) == []
    (source / "b.sh").write_text("three")
    assert install(remotes) == []
    assert (remotes / "b.sh").read_text() == "three", "it was ours again"


def test_files_that_were_there_before_are_the_sites_and_a_damaged_memory_changes_nothing(tmp_path: Path) -> None:
    remotes = tmp_path / "remotes"
    remotes.mkdir()
    (remotes / "scripts_common.sh").write_text("from another installation")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("linked")
    (remotes / "tm").mkdir()
    (remotes / "tm/tm_common.sh").symlink_to(elsewhere)
    assert install(remotes) == [remotes / "scripts_common.sh", remotes / "tm/tm_common.sh"]
    (remotes / ".installed.json").write_text("{damaged")
    assert install(remotes) == [remotes / "scripts_common.sh", remotes / "tm/tm_common.sh"]
    assert elsewhere.read_text() == "linked"


def test_one_location_leads_to_everything_and_may_be_prepared_again(tmp_path: Path) -> None:
    config = Config(var=tmp_path / "var", datastores=tmp_path / "ds")
    install(config.var / "remotes")
    for _ in range(2):
        OneLocation(config).prepare()
    one = config.var / "one"
    assert (one / "lib/sh/scripts_common.sh").samefile(config.var / "remotes/scripts_common.sh")
    assert (one / "var/remotes/tm/tm_common.sh").is_file()
    assert os.readlink(one / "var/datastores") == str(tmp_path / "ds")
    assert os.access(one / "bin/onevm", os.X_OK)
    settings = dict(line.split("=", 1) for line in (one / "var/config").read_text().splitlines())
    assert settings["DATASTORE_LOCATION"] == str(tmp_path / "ds")
    assert settings["SCRIPTS_REMOTE_DIR"] == "/var/tmp/one"


def test_the_environment_names_the_credentials_file_and_holds_the_sites_own_variables(tmp_path: Path) -> None:
    location = OneLocation(Config(var=tmp_path / "var"))
    location.prepare()
    tmrc = location.path / "etc/tmrc"
    tmrc.write_text("# ours\nQCOW2_OPTIONS=\"-o cluster_size=2M\"\n\nexport POOL='a b' # the pool\nDS_DIR=/mnt/ds\n")
    environment = location.environment("http://127.0.0.1:2633/RPC2")
    assert environment["ONE_AUTH"] == str(tmp_path / "var/.one/one_auth")
    assert environment["ONE_XMLRPC"] == "http://127.0.0.1:2633/RPC2"
    assert environment["ONE_LOCATION"] == str(tmp_path / "var/one")
    assert environment["PATH"].startswith(f"{tmp_path}/var/one/bin:")
    assert (environment["QCOW2_OPTIONS"], environment["POOL"]) == ("-o cluster_size=2M", "a b")
    assert environment["DS_DIR"] == "/mnt/ds", "the site has the last word"


@pytest.mark.parametrize("line", ["no assignment", "1X=2", 'X="open'])
def test_a_line_of_tmrc_that_is_no_assignment_is_named(tmp_path: Path, line: str) -> None:
    location = OneLocation(Config(var=tmp_path / "var"))
    location.prepare()
    (location.path / "etc/tmrc").write_text(f"A=1\n{line}\n")
    with pytest.raises(ConfigError, match=r"tmrc, line 2: .* must be NAME=value"):
        location.environment("http://127.0.0.1:2633/RPC2")
