"""OpenSSH's server, for hosts that are reached by ssh: the one program, as Debian packs it.

A server that were installed would start on the machine itself.  So its package is only unpacked, into the cache, once.
"""

import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from holdfast.sandbox.commands import SEARCH_PATH
from holdfast.sandbox.guest.image import cache_dir
from holdfast.sandbox.packages import unpack

_PACKAGES = ["openssh-server", "libwrap0"]


@dataclass(frozen=True)
class SshServer:
    """The server's program, and the folder with libraries that the machine may lack."""

    program: Path
    libraries: Path | None = None

    def argv(self, config: Path) -> list[str]:
        """The command line that serves in the foreground and says on standard error what happens."""
        return [str(self.program), "-D", "-e", "-f", str(config)]

    @property
    def variables(self) -> dict[str, str]:
        """What its environment must hold."""
        return {"LD_LIBRARY_PATH": str(self.libraries)} if self.libraries else {}


def ensure_sshd() -> SshServer:
    """The machine's own server if it has one, else Debian's, fetched now if it never was."""
    installed = shutil.which("sshd", path=SEARCH_PATH)
    if installed:
        return SshServer(Path(installed))
    folder = cache_dir() / f"sshd-{hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]}"
    if not folder.exists():
        _fetch(folder)
    return SshServer(folder / "usr/sbin/sshd", next(folder.glob("usr/lib/*/libwrap.so.0")).parent)


def _fetch(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="building-") as scratch:
        unpacked = Path(scratch, "unpacked")
        unpack(_PACKAGES, Path(scratch), unpacked)
        try:
            unpacked.rename(folder)
        except OSError:
            if not folder.exists():  # else another rack was quicker, and its copy is as good as ours
                raise
