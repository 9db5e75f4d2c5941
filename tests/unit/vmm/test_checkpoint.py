"""The files of a checkpoint: what counts as saved, and that no memory is used twice."""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.drivers.vmm.checkpoint import Checkpoint

WHOLE = b"LibvirtQemudSave and the rest"
PART = b"LibvirtQemudPart and the rest"
STAY = 1_000_000.0


def a_file(path: Path, content: bytes, at: float = STAY + 100) -> None:
    """A file of this age."""
    path.write_bytes(content)
    os.utime(path, (at, at))


def test_a_whole_draft_becomes_the_checkpoint_and_replaces_an_older_one(tmp_path: Path) -> None:
    files = Checkpoint(tmp_path)
    a_file(files.path, WHOLE, STAY - 5000)
    a_file(files.draft, WHOLE + b" of now")
    assert files.complete(STAY, STAY + 200)
    assert files.path.read_bytes() == WHOLE + b" of now"
    assert not files.draft.exists()
    assert files.complete(STAY, STAY + 300), "asked again, it is there"


def test_a_prepared_draft_is_nothing_yet_and_nobody_elses(tmp_path: Path) -> None:
    files = Checkpoint(tmp_path)
    files.prepare()
    assert not files.complete(STAY, STAY + 200)
    assert files.draft.stat().st_mode & 0o007 == 0


def test_a_save_of_a_running_domain_starts_from_nothing(tmp_path: Path) -> None:
    files = Checkpoint(tmp_path)
    for path in (files.path, files.draft, files.used):
        a_file(path, WHOLE, STAY - 40)
    files.prepare()
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.draft"]
    assert files.draft.read_bytes() == b""
    assert not files.complete(STAY, STAY + 200), "neither is what was saved before this stay"


def test_half_a_draft_never_takes_the_place_of_a_checkpoint(tmp_path: Path) -> None:
    files = Checkpoint(tmp_path)
    a_file(files.path, WHOLE, STAY - 5000)
    a_file(files.draft, PART)
    assert not files.complete(STAY, STAY + 200), "what lies there is from before this stay"
    assert files.path.read_bytes() == WHOLE


def test_a_draft_from_an_earlier_stay_is_not_taken_for_this_one(tmp_path: Path) -> None:
    files = Checkpoint(tmp_path)
    a_file(files.draft, WHOLE, STAY - 5000)
    assert not files.complete(STAY, STAY + 200)
    assert not files.path.exists()


def test_a_used_checkpoint_is_not_restored_again(tmp_path: Path) -> None:
    files = Checkpoint(tmp_path)
    assert "there is no" in files.trouble()
    a_file(files.path, WHOLE)
    assert files.trouble() == ""
    assert not files.is_gone()
    files.use()
    files.use()
    assert "has been used" in files.trouble()
    assert files.is_gone()
    files.discard()
    files.discard()
    assert list(tmp_path.iterdir()) == []


def test_half_a_checkpoint_is_not_restored(tmp_path: Path) -> None:
    files = Checkpoint(tmp_path)
    a_file(files.path, PART)
    assert "not a complete checkpoint" in files.trouble()
