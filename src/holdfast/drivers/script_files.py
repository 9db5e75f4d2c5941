"""Where the site's driver scripts are, and which file may be run: ``<remotes>/tm/<driver>/<action>``.

They run with the controller's rights, so a name from a template or a transfer file must never lead anywhere else: a
name is one plain word, links may lead about within ``remotes`` (OpenNebula's own ``ln`` is a link to ``clone``) but not
out of it, and nobody but the owner's group may write what is run.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

from holdfast.model.errors import HoldfastError

_FIRST_LINE_LIMIT = 256
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")


class UnusableScript(HoldfastError):
    """The script is missing or must not be run; the message names file, rule and way out."""


class ScriptFiles:
    """The scripts of one kind of driver (``tm``, ``vmm``) below the site's ``remotes``.  Blocking."""

    def __init__(self, remotes: Path, kind: str) -> None:
        self._remotes = remotes
        self._directory = remotes / kind

    def has(self, driver: str) -> bool:
        """The site has a driver of this name."""
        return bool(_WORD.fullmatch(driver)) and (self._directory / driver).is_dir()

    def has_action(self, driver: str, action: str) -> bool:
        """There is something of this name among the driver's scripts, whether it can be run or not."""
        return self.has(driver) and os.path.lexists(self._directory / driver / action)

    def find(self, driver: str, actions: Sequence[str]) -> Path:
        """The script of the first of these actions that there is; raises UnusableScript."""
        for word in (driver, *actions):
            if not _WORD.fullmatch(word):
                raise UnusableScript(
                    f"{word!r} cannot be the name of a driver or an action: letters, digits, _, - and dots inside"
                )
        directory = self._directory / driver
        tried = [directory / action for action in actions]
        path = next((path for path in tried if os.path.lexists(path)), None)
        if path is None:
            raise UnusableScript(_missing([str(each) for each in tried]))
        self._check(path)
        return path

    def _check(self, path: Path) -> None:
        try:
            real, root = path.resolve(strict=True), self._remotes.resolve(strict=True)
            modes = [each.stat().st_mode for each in (real, real.parent)]
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or "its links go round in circles"
            leads = f" (it is a link to {os.readlink(path)})" if path.is_symlink() else ""
            raise UnusableScript(f"{path} cannot be run: {reason}{leads}") from None
        if not real.is_relative_to(root):
            raise UnusableScript(f"{path} leads to {real}, out of {root}: copy the script there instead of linking it")
        if not stat.S_ISREG(modes[0]):
            raise UnusableScript(f"{path} must be an executable file, it is none")
        if not os.access(real, os.X_OK):
            raise UnusableScript(f"{path} is not executable: chmod +x {path}")
        first = _first_line(real)
        if first.startswith(b"#!") and first.endswith(b"\r\n"):
            mend = f"sed -i 's/\\r$//' {path}"
            raise UnusableScript(f"{path}: its lines end as on Windows (CRLF), no interpreter is found so: {mend}")
        for each, mode in zip((real, real.parent), modes, strict=True):
            if mode & stat.S_IWOTH:
                raise UnusableScript(f"{path} is not run, for everybody may write {each}: chmod o-w {each}")


def _first_line(path: Path) -> bytes:
    """Empty when it may be run but not read: then it is no script."""
    try:
        with path.open("rb") as file:
            return file.readline(_FIRST_LINE_LIMIT)
    except OSError:
        return b""


def _missing(tried: Sequence[str]) -> str:
    """In OpenNebula's words."""
    if len(tried) == 1:
        return f"Driver path '{tried[0]}' does not exists"
    return f"Driver path '{tried[0]}' nor '{tried[1]}' exists"
