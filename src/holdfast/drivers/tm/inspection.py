"""Whether files that came from another machine may be used: that machine may be in somebody else's hands.

The files become disks of a VM elsewhere, or an image that others are given.  What names a file outside of them - a
link, a second name, a backing or data file - would let their VM read and write whatever that is, on a machine that is
not its own.  Refused before anything gets its name; the messages name the file, where it came from, the rule and what
to do there.
"""

from __future__ import annotations

import json
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from holdfast.drivers.tm.lines import TransferError
from holdfast.drivers.tm.tools import Clockwork, TransferOverdue

LIMITS = ("prlimit", f"--as={2 << 30}", "--cpu=30", "--core=0", "--")
"""Bytes of memory and seconds of processor time that a look at a file made to be hard to read may take."""

_ITSELF = Path()
_OWNERS_RIGHTS = stat.S_ISUID | stat.S_ISGID


async def read_header(path: Path, clockwork: Clockwork, image_format: str = "") -> dict[str, Any]:
    """What ``qemu-img info`` says, under limits; found by its content if no format is given.  Raises TransferError."""
    given = ("-f", image_format) if image_format else ()
    about: dict[str, Any] = json.loads(
        await clockwork.run(*LIMITS, "qemu-img", "info", *given, "--output=json", str(path))
    )
    return about


def named_by(about: dict[str, Any]) -> tuple[str, str]:
    """The backing file and the data file that an image's header names, empty for none."""
    specific = about.get("format-specific", {}).get("data", {})
    backing = about.get("backing-filename") or about.get("full-backing-filename", "")
    return str(backing), str(specific.get("data-file") or "")


def insist_on_plain_tree(directory: Path, origin: str) -> None:
    """Refuses all but files, directories and links that stay within; a directory's setgid bit goes.  Blocking."""
    names: Counter[tuple[int, int]] = Counter()
    linked: dict[tuple[int, int], tuple[Path, int]] = {}
    for path in _below(directory):
        about = path.lstat()
        _insist_on_plain(path, about, directory, origin)
        if stat.S_ISREG(about.st_mode) and about.st_nlink > 1:
            file = about.st_dev, about.st_ino
            names[file] += 1
            linked[file] = path, about.st_nlink
    for file, (path, links) in linked.items():
        if links > names[file]:
            raise _refusal(origin, path.relative_to(directory), "is a hard link to a file outside", "copy the file")


async def insist_on_own_layers(directory: Path, disks: Iterable[str], origin: str, clockwork: Clockwork) -> None:
    """Refuses qcow2 disks of a VM's directory with a layer that is based on anything but other layers in there."""
    directory = await clockwork.touch(directory.resolve, f"looking at {directory}")
    files = await clockwork.touch(lambda: list(_files_of(directory, disks)), f"looking at {directory}")
    known = set(files)
    while files:
        file = files.pop()
        for lower in await _lower_layers(file, directory, origin, clockwork):
            if lower not in known:
                known.add(lower)
                files.append(lower)


async def insist_on_whole_image(file: Path, image_format: str, origin: str, clockwork: Clockwork) -> None:
    """Refuses an image that is not of this format, or names other files."""
    if image_format == "raw":
        return  # whatever is in there is the guest's own: whoever uses it says that it is raw
    backing, data = named_by(await _header(file, _ITSELF, image_format, origin, clockwork))
    for word, other in (("backing", backing), ("data", data)):
        if other:
            reason, way_out = f"has the {word} file {other}, an image must hold all of its data", "flatten it"
            raise _refusal(origin, _ITSELF, reason, f"{way_out} (qemu-img convert)")


async def _lower_layers(file: Path, directory: Path, origin: str, clockwork: Clockwork) -> list[Path]:
    """What the file is based on, if that is a file in the directory that is to be read as qcow2."""
    name = file.relative_to(directory)
    about = await _header(file, name, "qcow2", origin, clockwork)
    backing, data = named_by(about)
    if data:
        raise _refusal(origin, name, f"has the data file {data}", "flatten it (qemu-img convert)")
    if not backing:
        return []
    lower = await clockwork.touch(lambda: _inside(file, backing, directory), f"looking at {file}")
    if lower is None:
        reason = f"is based on {backing}, a layer's base must be named relative to it and lie in the VM's directory"
        raise _refusal(origin, name, reason, "flatten it (qemu-img convert)")
    return [] if about.get("backing-filename-format") == "raw" else [lower]


async def _header(file: Path, name: Path, image_format: str, origin: str, clockwork: Clockwork) -> dict[str, Any]:
    try:
        return await read_header(file, clockwork, image_format)
    except TransferOverdue:
        raise
    except TransferError as error:
        reason = f"cannot be read as {image_format} ({error.message})"
        raise _refusal(origin, name, reason, "see what wrote it; a copy from before has to take its place") from None


def _insist_on_plain(path: Path, about: os.stat_result, directory: Path, origin: str) -> None:
    name, mode = path.relative_to(directory), about.st_mode
    if stat.S_ISLNK(mode):
        target = path.readlink()
        if target.is_absolute() or not _leads_inside(path, directory):
            raise _refusal(origin, name, f"is a link to {target}, which leads out of the directory", "put a file there")
    elif stat.S_ISDIR(mode):
        if mode & _OWNERS_RIGHTS:  # usual where a datastore belongs to a group; means nothing elsewhere
            path.chmod(stat.S_IMODE(mode) & ~_OWNERS_RIGHTS)
    elif not stat.S_ISREG(mode):
        raise _refusal(origin, name, "is neither a file nor a directory", "remove it")
    elif mode & _OWNERS_RIGHTS:
        raise _refusal(origin, name, "would run with its owner's rights", "chmod ug-s it")


def _leads_inside(link: Path, directory: Path) -> bool:
    """Step by step within the directory, wherever that will be: not out of it and back in."""
    steps = os.path.normpath(link.relative_to(directory).parent / link.readlink())
    try:
        return not steps.startswith("..") and link.resolve().is_relative_to(directory.resolve())
    except (OSError, RuntimeError):  # a link that leads in circles leads nowhere
        return False


def _inside(file: Path, backing: str, directory: Path) -> Path | None:
    """The file in the directory that a backing file's name means; None for any other, or another protocol."""
    name = Path(backing)
    if name.is_absolute() or ":" in backing or ".." in name.parts:
        return None
    lower = (file.parent / name).resolve()
    return lower if lower.is_relative_to(directory.resolve()) and lower.is_file() else None


def _files_of(directory: Path, disks: Iterable[str]) -> Iterator[Path]:
    """The regular files of these disks: themselves, and all in the directories of their layers."""
    for disk in disks:
        for path in (directory / disk, *_below(directory / f"{disk}.snap")):
            if path.is_file() and not path.is_symlink():
                yield path.resolve()


def _below(directory: Path) -> Iterator[Path]:
    for folder, directories, names in os.walk(directory):
        yield from (Path(folder) / name for name in (*directories, *names))


def _refusal(origin: str, name: Path, reason: str, way_out: str) -> TransferError:
    host, _, path = origin.partition(":")
    what = path if name == _ITSELF else f"{name} of {path}"
    return TransferError(f"{what} {reason}: it was not accepted from {host}; {way_out} there and try again")
