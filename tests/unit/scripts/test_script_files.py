"""Which file may be run as a driver's script."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.drivers.script_files import ScriptFiles, UnusableScript


@pytest.fixture
def remotes(tmp_path: Path) -> Path:
    script(tmp_path / "remotes/tm/own/clone")
    return tmp_path / "remotes"


def script(path: Path, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


def refusal(remotes: Path, driver: str, *actions: str) -> str:
    with pytest.raises(UnusableScript) as refused:
        ScriptFiles(remotes, "tm").find(driver, actions)
    return refused.value.message


def test_an_executable_file_is_taken_and_so_is_a_link_to_one_within_remotes(remotes: Path) -> None:
    files = ScriptFiles(remotes, "tm")
    (remotes / "tm/own/ln").symlink_to("clone")
    (remotes / "tm/twin").symlink_to("own")
    assert files.find("own", ["clone"]) == remotes / "tm/own/clone"
    assert files.find("own", ["ln"]) == remotes / "tm/own/ln"
    assert files.find("twin", ["clone"]) == remotes / "tm/twin/clone"
    assert files.has("own")
    assert not files.has("tm_common.sh")


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../vmm/kvm", "/etc", "-rf", "", "a b", "a\nb", "ümlaut"])
def test_a_name_that_is_no_plain_word_is_refused_before_any_file_is_looked_at(remotes: Path, name: str) -> None:
    assert not ScriptFiles(remotes, "tm").has(name)
    assert "cannot be the name of a driver or an action" in refusal(remotes, name, "clone")
    assert "cannot be the name of a driver or an action" in refusal(remotes, "own", name)


def test_a_link_that_leads_out_of_remotes_is_refused(remotes: Path) -> None:
    outside = script(remotes.parent / "elsewhere/clone")
    (remotes / "tm/own/mv").symlink_to(outside)
    (remotes / "tm/far").symlink_to(outside.parent)
    for driver, action in (("own", "mv"), ("far", "clone")):
        said = refusal(remotes, driver, action)
        assert f"leads to {outside}, out of {remotes}: copy the script there instead of linking it" in said


def test_what_cannot_be_run_is_refused_with_the_way_out(remotes: Path) -> None:
    path = script(remotes / "tm/own/mv", 0o644)
    assert refusal(remotes, "own", "mv") == f"{path} is not executable: chmod +x {path}"
    (remotes / "tm/own/delete").mkdir()
    assert "must be an executable file" in refusal(remotes, "own", "delete")
    (remotes / "tm/own/mvds").symlink_to("gone")
    assert refusal(remotes, "own", "mvds").endswith("cannot be run: No such file or directory (it is a link to gone)")
    (remotes / "tm/own/loop").symlink_to("loop")
    assert "cannot be run" in refusal(remotes, "own", "loop")


def test_what_everybody_may_write_is_not_run(remotes: Path) -> None:
    path = script(remotes / "tm/own/mv", 0o757)
    assert refusal(remotes, "own", "mv") == f"{path} is not run, for everybody may write {path}: chmod o-w {path}"
    path.chmod(0o755)
    path.parent.chmod(0o777)
    assert f"everybody may write {path.parent}" in refusal(remotes, "own", "mv")


def test_a_script_whose_lines_end_as_on_windows_is_refused_with_the_way_out(remotes: Path) -> None:
    path = script(remotes / "tm/own/mv")
    path.write_bytes(b"#!/bin/sh\r\nexit 0\r\n")
    assert refusal(remotes, "own", "mv").endswith(f"(CRLF), no interpreter is found so: sed -i 's/\\r$//' {path}")
