"""Debian packages that are downloaded and unpacked, never installed: no root, and nothing on the machine changes."""

from pathlib import Path

from holdfast.sandbox.commands import run
from holdfast.sandbox.errors import RackError

_LIMIT_S = 300


def unpack(names: list[str], scratch: Path, into: Path) -> list[str]:
    """Unpacks these packages into a folder and returns their files' names; RackError when apt cannot get them."""
    try:
        run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *names], _LIMIT_S, cwd=scratch)
    except RackError as exc:
        raise RackError(f"{', '.join(names)} could not be downloaded; try `apt-get update` first. {exc}") from None
    debs = sorted(scratch.glob("*.deb"))
    for deb in debs:
        run(["dpkg", "-x", str(deb), str(into)], _LIMIT_S)
    return [deb.name for deb in debs]
