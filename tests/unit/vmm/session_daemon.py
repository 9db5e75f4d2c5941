"""A libvirtd of our own in session mode: all its files below one directory, no root's configuration touched."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

LIMIT_S = 15.0


class SessionDaemon:
    """One simulated host.  Session mode needs a user that is not root: as root, one of a user namespace."""

    def __init__(self, directory: Path, number: int = 1) -> None:
        self.directory = directory
        self.socket = directory / "run/libvirt/libvirt-sock"
        self._config = directory / "config/libvirt/libvirtd.conf"
        self._process: subprocess.Popen[bytes] | None = None
        (directory / "run").mkdir(mode=0o700)
        self._config.parent.mkdir(parents=True)
        self._config.write_text(
            f'host_uuid = "00000000-0000-4000-8000-{number:012d}"\n'
            f'log_outputs = "3:file:{directory}/libvirtd.log"\nmax_clients = 100\n'
        )
        (self._config.parent / "qemu.conf").write_text('stdio_handler = "file"\n')

    @property
    def uri(self) -> str:
        """Real QEMU guests."""
        return f"qemu+unix:///session?socket={self.socket}"

    @property
    def mock_uri(self) -> str:
        """libvirt's mock driver, behind the same real socket."""
        return f"test+unix:///default?socket={self.socket}"

    @property
    def pid(self) -> int:
        """Of the daemon."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Returns when the socket takes connections."""
        user = ["unshare", "-U", "--map-user=65534", "--map-group=65534"] if os.geteuid() == 0 else []
        places = {"RUNTIME_DIR": "run", "CONFIG_HOME": "config", "CACHE_HOME": "cache", "DATA_HOME": "data"}
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.directory),
            **{f"XDG_{name}": str(self.directory / place) for name, place in places.items()},
        }
        with open(self.directory / "libvirtd.out", "ab") as output:
            self._process = subprocess.Popen(
                [*user, "libvirtd", "-f", str(self._config), "-p", str(self.directory / "libvirtd.pid")],
                env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        give_up = time.monotonic() + LIMIT_S
        while not self._answers():
            assert self._process.poll() is None, (self.directory / "libvirtd.out").read_text()
            assert time.monotonic() < give_up, "libvirtd did not open its socket"
            time.sleep(0.02)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(self.socket))
            except OSError:
                return False
            return True

    def freeze(self) -> None:
        """It hangs: sockets stay open, nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        os.kill(self.pid, signal.SIGCONT)

    def kill_daemon(self) -> None:
        """Only the daemon: guests go on."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(LIMIT_S)
            self._process = None

    def guest_pids(self) -> list[int]:
        """The QEMU processes that this daemon started."""
        pids = []
        for file in self.directory.glob("run/libvirt/qemu/run/one-*.pid"):
            with contextlib.suppress(ValueError, OSError):
                pid = int(file.read_text())
                if str(self.directory).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    pids.append(pid)
        return pids

    def stop(self) -> None:
        """Daemon and guests."""
        self.kill_daemon()
        for pid in self.guest_pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
