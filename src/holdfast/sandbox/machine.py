"""One host seen from outside: its power switch and its network cable.

Power off is SIGKILL to the host's first process and returns only when the kernel has ended every process of the host;
the cable goes first, so that, as in a power failure, the host says no goodbye to anyone.  Each switching on makes a new
boot id, because the kernel's own is the same for all hosts of the rack.

With disks over the network a cut host loses the rest of the storage too: empty, read-only folders then cover the shared
ones.  That holds for whatever is opened from then on; so the agent has to open its heartbeat file anew for each beat.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

from holdfast.sandbox import capabilities, network
from holdfast.sandbox.children import Child, Children, first_child
from holdfast.sandbox.commands import run
from holdfast.sandbox.errors import RackError
from holdfast.sandbox.guest.image import cache_dir
from holdfast.sandbox.host import HostSpec
from holdfast.sandbox.layout import LIBVIRT_PORT, SSH_PORT, HostPlace, Layout, RackConfig, Storage
from holdfast.sandbox.namespaces import enter_mounts, host_namespaces

_BOOT_LIMIT_S = 10.0
_DEATH_LIMIT_S = 15.0
_SSH_LIMIT_S = 10.0
_CONNECT_LIMIT_S = 0.1  # short: the kernel sends a SYN that got lost again only after a second


class Machine:
    """A host's power and cable; calls for one machine queue up."""

    def __init__(self, place: HostPlace, layout: Layout, config: RackConfig, children: Children) -> None:
        self.place = place
        self.cut_off = False
        self.boot_id: str | None = None
        self.booted_at: float | None = None
        self._folder = layout.host(place)
        self._sshd_config = layout.sshd_config(place)
        self._shared = [layout.datastores, layout.heartbeats] if config.storage is Storage.NBD else []
        self._config = config
        self._children = children
        self._process: Child | None = None
        self._first_pid = 0
        self._lock = asyncio.Lock()

    @property
    def powered(self) -> bool:
        """Whether any process of the host may be alive."""
        return self._process is not None and self._process.running

    @property
    def first_pid(self) -> int | None:
        """The host's first process, as the supervisor's process namespace numbers it; None without power."""
        return self._first_pid if self.powered else None

    async def power_on(self) -> None:
        """Switches it on, if it is off; does not wait for libvirtd."""
        async with self._lock:
            if not self.powered:
                await self._boot()

    async def power_off(self) -> None:
        """Returns when no process of the host is left; RackError if that cannot be had."""
        async with self._lock:
            if self._process and self._process.running:
                network.unplug(self.place)
                with contextlib.suppress(ProcessLookupError):  # it just died by itself
                    os.kill(self._first_pid, signal.SIGKILL)
                await self._process.wait(_DEATH_LIMIT_S)
            self._process = None

    async def cut(self) -> None:
        """Cuts the cable, also for boots to come."""
        async with self._lock:
            self.cut_off = True
            if self.powered:
                network.cut(self.place)
                self._cover_storage()

    async def heal(self) -> None:
        """Mends the cable."""
        async with self._lock:
            was_cut, self.cut_off = self.cut_off, False
            if was_cut and self.powered:
                network.heal(self.place)
                self._uncover_storage()

    async def wait_ready(self, limit_s: float) -> None:
        """Returns when libvirtd answers, and the ssh server unless it is off; RackError after this time."""
        await self._wait_until(LIBVIRT_PORT, answers=True, limit_s=limit_s, log="libvirtd.out")
        if self.ssh_on:
            await self._wait_until(SSH_PORT, answers=True, limit_s=limit_s, log="sshd.log")

    @property
    def ssh_on(self) -> bool:
        """Whether the host has an ssh server that is to run."""
        return self._sshd_config.exists()

    async def switch_ssh(self, *, on: bool) -> None:
        """Starts the host's ssh server or ends it, with all its connections, also for boots to come."""
        async with self._lock:
            if self._config.storage is not Storage.SSH:
                raise RackError(f"{self.place.name} has no ssh server: build the rack with `up --ssh`")
            aside = self._sshd_config.with_suffix(".off")
            if on != self.ssh_on:
                (aside if on else self._sshd_config).rename(self._sshd_config if on else aside)
            if self.powered and not self.cut_off:
                await self._wait_until(SSH_PORT, answers=on, limit_s=_SSH_LIMIT_S, log="sshd.log")

    async def _wait_until(self, port: int, *, answers: bool, limit_s: float, log: str) -> None:
        give_up_at = time.monotonic() + limit_s
        while await self._answers(port) is not answers:
            if not self.powered:
                raise RackError(f"{self.place.name} died while booting; see {self._folder}/console.log")
            if time.monotonic() > give_up_at:
                word = "does not answer" if answers else "still answers"
                raise RackError(f"{self.place.name}: port {port} {word} after {limit_s:g} s; see {self._folder}/{log}")
            await asyncio.sleep(0.01)

    async def _answers(self, port: int) -> bool:
        try:
            connecting = asyncio.open_connection(self.place.address, port)
            _, writer = await asyncio.wait_for(connecting, _CONNECT_LIMIT_S)
        except OSError:
            return False
        writer.close()
        return True

    async def _boot(self) -> None:
        boot_id = str(uuid.uuid4())
        network.unplug(self.place)
        self._clear_run()
        capabilities.give(self._folder)
        (self._folder / "boot_id").write_text(boot_id + "\n", encoding="ascii")
        program = [sys.executable, "-m", "holdfast.sandbox.host"]
        log = self._folder / "console.log"
        process = self._children.start([*host_namespaces(), *program], log, cwd=Path("/"), stdin=subprocess.PIPE)
        self._process, self.boot_id, self.booted_at = process, boot_id, time.time()
        try:
            self._first_pid = await self._wait_for_first_process(process)
            network.plug(self.place, self._first_pid, cut=self.cut_off)
            if self.cut_off:
                self._cover_storage()
            self._release(process, boot_id)
        except BaseException:
            await process.kill()
            raise

    def _clear_run(self) -> None:
        """What a host keeps in memory is gone after a power failure."""
        runtime = self._folder / "run"
        if runtime.exists():
            shutil.rmtree(runtime)
        runtime.mkdir(mode=0o700)

    async def _wait_for_first_process(self, process: Child) -> int:
        give_up_at = time.monotonic() + _BOOT_LIMIT_S
        while process.running and time.monotonic() < give_up_at:
            pid = first_child(process.pid)
            if pid:
                return pid
            await asyncio.sleep(0.002)
        raise RackError(f"{self.place.name} cannot be switched on; see {self._folder}/console.log")

    def _release(self, process: Child, boot_id: str) -> None:
        spec = HostSpec(
            number=self.place.number,
            hosts=self._config.hosts,
            folder=str(self._folder),
            boot_id=boot_id,
            rack=str(self._config.directory),
            keep_visible=[str(cache_dir())],
            shares_nothing=self._config.storage is Storage.SSH,
        )
        assert process.stdin
        with process.stdin as pipe:
            pipe.write(spec.to_json().encode() + b"\n")

    def _cover_storage(self) -> None:
        for folder in self._shared:
            cover = ["mount", "-t", "tmpfs", "-o", "ro,size=4k", "holdfast-cut", str(folder)]
            run([*enter_mounts(self._first_pid), *cover], _BOOT_LIMIT_S)

    def _uncover_storage(self) -> None:
        for folder in self._shared:
            run([*enter_mounts(self._first_pid), "umount", "--lazy", str(folder)], _BOOT_LIMIT_S)
