"""The files that a new VM's CONTEXT names are looked at before it is created."""

import asyncio
from pathlib import Path

import pytest

from holdfast.drivers.tm.context import LIMIT_BYTES
from holdfast.model.errors import AllocateError
from holdfast.serve.context_look import ContextLook


def look(tmp_path: Path, files: str) -> None:
    """At a template with these FILES."""
    there = ContextLook(tmp_path / "datastores", [tmp_path / "secret"])
    asyncio.run(there.insist(f'CPU=1\nMEMORY=64\nCONTEXT=[FILES="{files}"]'))


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A directory with a good file, a large one and a forbidden one."""
    (tmp_path / "good").write_text("hello")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(LIMIT_BYTES + 1)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("key")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing", "cannot be read: No such file or directory"),
        ("secret", "is in a protected directory"),
        ("secret/key", "is in a protected directory: copy it elsewhere"),
        (".", "is not a file"),
        ("large", "the files of a CONTEXT can have 64 MB together"),
    ],
)
def test_what_the_first_start_could_not_read_is_refused_with_its_name(here: Path, name: str, words: str) -> None:
    with pytest.raises(AllocateError, match=words) as refused:
        look(here, f"{here}/good {here}/{name}:'other'")
    assert f"{here}/{name}" in str(refused.value)


def test_what_is_good_or_left_to_others_passes(here: Path) -> None:
    look(here, f"{here}/good")
    look(here, "no path at all")
    look(here, f"{here}/datastores/2/registered")
    asyncio.run(ContextLook(here, []).insist("CPU=1"))
    asyncio.run(ContextLook(here, []).insist("CONTEXT=[ broken"))
