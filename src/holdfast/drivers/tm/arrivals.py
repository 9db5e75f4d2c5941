"""Both ends of a copy between machines, each on its own files: what is sent, what arrives, and who owns it when.

What arrives is a draft until its sender has ended well; only then is it checked, synced and given its name.  A
directory that moves is at its new place first, with the mark of this move in it (:mod:`holdfast.drivers.tm.home`) and a
mark *arriving* beside it; then it loses its name at the old place; then the latter goes.  So whoever finds it
at the new place only knows whether it is the last version, or a copy that was left by a move that never ended while the
old place is out of sight, or something else altogether.  An image that was brought back has a mark too: it says for
which disk, because that disk is gone afterwards.

What arrives may come from a host that somebody has taken over: :mod:`holdfast.drivers.tm.inspection` says what it must
not hold.
"""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from holdfast.drivers.tm import home, layout
from holdfast.drivers.tm.lines import TransferError
from holdfast.drivers.tm.paths import DatastoreArea
from holdfast.drivers.tm.tools import Clockwork, removed_on_failure

_MIB = 1 << 20
_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Standing:
    """How one end of a move looks.

    ``there``: the directory; ``size``: its bytes on disk; ``set_aside``: one that was set aside after a complete copy;
    ``arrived``: it has come by this move; ``arriving``: the other end had not let go of it when it came; ``lacks``:
    disks of the VM that are not in it; ``same``: the other end is this very directory; ``token``: see
    :func:`begin_move`.
    """

    there: bool
    size: int = 0
    set_aside: bool = False
    arrived: bool = False
    arriving: bool = False
    lacks: tuple[str, ...] = ()
    same: bool = False
    token: str = ""


def begin_move(target: Path, move: str, disks: Sequence[str]) -> Standing:
    """At the new place: leaves a file whose name the old place looks for, lest a directory is moved onto itself."""
    target.parent.mkdir(parents=True, exist_ok=True)
    end_move(target)
    token = uuid.uuid4().hex
    _token(target, token).touch()
    return replace(standing(target, move, disks), token=token)


def end_move(target: Path) -> None:
    """Removes such files."""
    for left in target.parent.glob(f".{target.name}.looked-for.*"):
        layout.remove(left)


def standing(path: Path, move: str, disks: Sequence[str], token: str = "") -> Standing:
    """How it looks here, to this move of a VM with these disks."""
    there = layout.is_there(path)
    return Standing(
        there,
        size=allocated(path) if there else 0,
        set_aside=home.is_set_aside(path),
        arrived=home.is_marked(path, move),
        arriving=layout.is_there(_arriving(path)),
        lacks=tuple(home.lacking(path, disks)),
        same=bool(token) and layout.is_there(_token(path, token)),
    )


def allocated(path: Path) -> int:
    """Bytes on disk of a file, or of all in a directory."""
    if not path.is_dir() or path.is_symlink():
        return path.stat().st_blocks * _BLOCK
    return sum((Path(folder) / name).lstat().st_blocks * _BLOCK for folder, _, names in os.walk(path) for name in names)


def begin_arrival(root: Path, target: Path, size: int) -> Path:
    """An empty directory into which is written what will be ``target``; refuses what will not fit."""
    if target.parent.parent == root:
        layout.make_directory(target.parent)
    draft = layout.begin(target)
    about = os.statvfs(target.parent)
    free = about.f_bavail * about.f_frsize
    if size > free:
        raise TransferError(
            f"no space is left in {target.parent}: {-(-size // _MIB)} MB are needed, {free // _MIB} MB are free"
        )
    draft.mkdir()
    return draft


def arrived_file(draft: Path) -> Path:
    """The one regular file that has arrived."""
    names = list(draft.iterdir())
    if len(names) != 1 or not stat.S_ISREG(names[0].lstat().st_mode):
        raise TransferError(f"{draft} must hold one file, it holds {', '.join(each.name for each in names) or 'none'}")
    return names[0]


def publish_directory(draft: Path, target: Path, move: str, insist: layout.Insist) -> None:
    """What arrived gets its name, marked as come by this move; what was here goes, for the other end is whole."""
    home.mark(draft, move)
    mark = _arriving(target)
    mark.write_text(f"{move}\n", encoding="utf-8")
    layout.sync(mark)
    layout.publish_directory(draft, target, insist)
    layout.drop_set_aside(target)


def settle(target: Path) -> None:
    """The old place has let go: what is here is the last version, and what an earlier move set aside here is not."""
    layout.drop_set_aside(target)
    layout.remove(_arriving(target))
    layout.sync(target.parent)
    end_move(target)


def is_brought_back(image: Path, disk: str) -> bool:
    """The image holds what this disk held in the end."""
    mark = _brought(image)
    return mark.exists() and mark.read_text(encoding="utf-8").strip() == disk


def hand_out(image: Path) -> None:
    """The image goes to a VM, or for good: what it was brought back from does not count any more."""
    layout.remove(_brought(image))


def publish_image(draft: Path, image: Path, disk: str, insist: layout.Insist) -> None:
    """A disk has come back: it takes the place of its image."""
    arrived = arrived_file(draft)
    if image.exists():
        os.chmod(arrived, stat.S_IMODE(image.stat().st_mode))
    layout.replace_file(arrived, image, insist)
    layout.remove(draft)
    layout.remove(image.with_name(f"{image.name}.md5sum"))
    _brought(image).write_text(f"{disk}\n", encoding="utf-8")
    layout.sync(_brought(image))


async def publish_disk(draft: Path, target: Path, image_format: str, grown_mb: int, clockwork: Clockwork) -> None:
    """What arrived becomes a disk, of at least ``grown_mb`` megabytes."""
    async with removed_on_failure(draft):
        file = await clockwork.touch(lambda: arrived_file(draft), f"looking at {draft}")
        if grown_mb:
            await clockwork.run("qemu-img", "resize", "-q", "-f", image_format, str(file), f"{grown_mb}M", writes=file)
        await clockwork.touch(lambda: layout.publish_file(file, target, clockwork.insist), f"putting {target} in place")
        await clockwork.touch(lambda: layout.remove(draft), f"removing {draft}")


def confined_draft(area: DatastoreArea, word: str, target: Path) -> Path:
    """A draft that belongs to this target."""
    draft = Path(word)
    if draft.parent != target.parent or not layout.is_draft_of(draft, target):
        raise TransferError(f"{word} is no draft of {target}")
    area.confine(draft.parent)
    return draft


def _arriving(target: Path) -> Path:
    return target.with_name(f".{target.name}.arriving")


def _brought(image: Path) -> Path:
    return image.with_name(f".{image.name}.brought-back")


def _token(target: Path, token: str) -> Path:
    return target.with_name(f".{target.name}.looked-for.{token}")
