"""Puts what driver scripts share (``scripts_common.sh``, ``tm_common.sh``, ``xpath.rb``, …) into ``<var>/remotes``.

The site's own drivers are there, too, and it may change ours: a file that is not as it was installed stays as it is,
and the log names it.  What was installed is remembered in ``.installed.json``, by digest.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import holdfast
from holdfast.serve.config import ConfigError

SOURCE = Path(holdfast.__file__).parent / "remotes"
"""The files that come with Holdfast."""

_MEMORY = ".installed.json"


def install(remotes: Path) -> list[Path]:
    """Brings ``remotes`` up to date; answers the files that the site changed; raises ConfigError."""
    try:
        before = _remembered(remotes)
        now, kept = dict(before), []
        for name in _names():
            content, target = (SOURCE / name).read_bytes(), remotes / name
            if _is_the_sites(target, content, before.get(name, "")):
                kept.append(target)
            else:
                _write(target, content, 0o755 if content.startswith(b"#!") else 0o644)
                now[name] = _digest(content)
        if now != before:
            _write(remotes / _MEMORY, json.dumps(now, indent=1).encode() + b"\n", 0o644)
    except OSError as error:
        raise ConfigError(f"Cannot install the scripts in {remotes}: {error.strerror} ({error.filename}).") from None
    return kept


def _names() -> Iterator[str]:
    for path in sorted(SOURCE.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(SOURCE))


def _remembered(remotes: Path) -> dict[str, str]:
    """What was installed last; damaged means forgotten: then every file that differs counts as the site's."""
    try:
        found = json.loads((remotes / _MEMORY).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return {str(name): str(digest) for name, digest in found.items()} if isinstance(found, dict) else {}


def _is_the_sites(target: Path, content: bytes, installed: str) -> bool:
    """It is there, neither as we left it nor what we would write."""
    if not os.path.lexists(target):
        return False
    if target.is_symlink() or not target.is_file():
        return True
    found = target.read_bytes()
    return found != content and _digest(found) != installed


def _write(target: Path, content: bytes, mode: int) -> None:
    if target.is_file() and target.read_bytes() == content and target.stat().st_mode & 0o777 == mode:
        return
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    draft = target.with_name(f".{target.name}.draft")
    draft.write_bytes(content)
    draft.chmod(mode)
    draft.replace(target)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
