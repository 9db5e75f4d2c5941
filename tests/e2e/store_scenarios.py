"""Controllers on bad disks; ``test_store_faults.py`` runs each in a mount namespace of its own: NAME DIRECTORY."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.e2e.agents import ScriptedAgent
from tests.e2e.daemon import BIN, GUIDE_HOOK, Daemon
from tests.e2e.refusing_store import Observed


def disk_full(directory: Path) -> None:
    """Somebody fills the disk of the database, and makes room again."""
    daemon = Daemon(directory / "controller")
    mount_tmpfs(daemon.var, "8m")
    ballast = daemon.var / "ballast"
    try:
        daemon.start()
        observed = Observed.of(daemon, ScriptedAgent)
        fill(ballast)
        said = observed.until_refused()
        assert "its disk is full" in said, said
        assert "Free space there. Changes are accepted again as soon as it is, without a restart." in said, said
        observed.while_refused(said)
        ballast.unlink()
        observed.after_mending()
    finally:
        daemon.close()


def read_only(directory: Path) -> None:
    """The controller is started on a file system that is mounted read-only."""
    daemon = Daemon(directory / "controller")
    mount_tmpfs(daemon.var, "8m")
    try:
        daemon.start()
        kept = daemon.host("kept")
        daemon.hook(GUIDE_HOOK)
        assert daemon.stop() == 0
        subprocess.run(["mount", "-o", "remount,ro", str(daemon.var)], check=True, timeout=20)
        argv = [str(BIN / "holdfast"), "serve", "--var", str(daemon.var), "--listen", "127.0.0.1:0"]
        refused = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
        assert refused.returncode == 1, refused
        assert refused.stderr.count("\n") == 1, refused.stderr
        assert "Read-only file system" in refused.stderr, refused.stderr
        assert str(daemon.var) in refused.stderr, refused.stderr
        subprocess.run(["mount", "-o", "remount,rw", str(daemon.var)], check=True, timeout=20)
        daemon.start()
        assert daemon.host_state(kept) == "2"
    finally:
        daemon.close()


def mount_tmpfs(path: Path, size: str) -> None:
    """A disk of this size."""
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(path)], check=True, timeout=20)


def fill(path: Path) -> None:
    """Takes all the room there is, to the last byte."""
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


if __name__ == "__main__":
    scenario, place = sys.argv[1:]
    {"disk_full": disk_full, "read_only": read_only}[scenario](Path(place))
