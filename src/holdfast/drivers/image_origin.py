"""Which files and URLs may become images: what PATH says, where it really leads, and what the datastore's rules say."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from holdfast.drivers.tm.lines import TransferError

PROTECTED = ("/etc", "/root", "/proc", "/sys", "/dev")
"""Nothing in these directories can be registered, whatever a datastore says."""

WEB = ("http", "https")


@dataclass(frozen=True, slots=True)
class PathRules:
    """Directories whose files are refused, and exceptions from the second kind (RESTRICTED_DIRS and SAFE_DIRS)."""

    protected: tuple[str, ...] = PROTECTED
    restricted: tuple[str, ...] = ()
    safe: tuple[str, ...] = ()

    def refuse(self, real: Path, origin: str) -> None:
        """Raises TransferError when a file that really lies there must not be read."""
        for directory in self.protected:
            if real.is_relative_to(directory):
                raise TransferError(f"PATH {origin} is in {directory}, whose files cannot be registered as images")
        within = _first_above(real, self.restricted)
        if within and not _first_above(real, self.safe):
            exceptions = " ".join(self.safe)
            allowed = f"only {exceptions} may be read" if exceptions else "SAFE_DIRS names no exception"
            raise TransferError(
                f"PATH {origin} is in {within}, which is one of the datastore's RESTRICTED_DIRS; {allowed}: copy the "
                f"file to an allowed directory, or change SAFE_DIRS with onedatastore update"
            )


def _first_above(real: Path, directories: Iterable[str]) -> str:
    return next((directory for directory in directories if real.is_relative_to(directory)), "")


def scheme_of(origin: str) -> str:
    """``http`` or ``https`` of a URL that is fetched, empty for a file; raises TransferError for any other."""
    if origin.startswith("/"):
        return ""
    scheme = urlsplit(origin).scheme.lower()
    if scheme == "file":
        return ""
    if scheme not in WEB:
        raise TransferError(
            f"PATH {origin} is not absolute; give the whole path of a file on the controller, or a URL that begins "
            f"with http://, https:// or file://"
        )
    if "@" in urlsplit(origin).netloc:
        raise TransferError("PATH is a URL with a user in it, which everybody could read: download the file yourself")
    try:
        urlsplit(origin).port  # noqa: B018 - asking for it checks it
    except ValueError:
        raise TransferError(f"PATH {origin} names a port that does not exist: it is a number up to 65535") from None
    return scheme


def local_path(origin: str) -> str:
    """The path of a file, given as such or as a ``file://`` URL of this machine."""
    if not origin.lower().startswith("file:"):
        return origin
    parts = urlsplit(origin)
    if parts.netloc not in ("", "localhost"):
        raise TransferError(f"PATH {origin} names another machine: write file:///path for a file of the controller")
    return unquote(parts.path)


def open_checked(origin: str, rules: PathRules) -> int:
    """Opens first and checks what was opened, for a path can change between a check and its use.  Blocking."""
    path = local_path(origin)
    if not path.startswith("/"):
        raise TransferError(f"PATH {origin} is not absolute; give the whole path of a file on the controller")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise TransferError(f"PATH {origin} cannot be read: {error.strerror}") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise TransferError(f"PATH {origin} is not a regular file")
        rules.refuse(Path(os.readlink(f"/proc/self/fd/{descriptor}")), origin)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def directories(text: str) -> Sequence[str]:
    """RESTRICTED_DIRS or SAFE_DIRS: paths between blanks."""
    return tuple(os.path.normpath(word) for word in text.split() if word.startswith("/"))
