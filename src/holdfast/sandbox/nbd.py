"""Disks over the network: every VM disk in a system datastore, offered by NBD as long as its file is there.

One qemu-storage-daemon serves them all on the controller's address.  It takes no lock on the files and lets any number
of clients write at once: a VM that is started twice destroys its disk, as on any plain block storage.  Images are raw.

`ExportTable` decides (what is offered, what should be), `StorageDaemon` obeys over QMP, `NbdStorage` runs them.
"""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.sandbox.children import Child, Children
from holdfast.sandbox.errors import RackError
from holdfast.sandbox.layout import CONTROLLER_ADDRESS, NBD_PORT, Layout

_POLL_S = 0.04
_QMP_LIMIT_S = 10.0
_RESTART_PAUSE_S = 0.5


@dataclass(frozen=True)
class DiskFile:
    """A disk as it lies there; any difference means that it must be offered anew."""

    path: str
    device: int
    inode: int
    size: int


@dataclass(frozen=True)
class Change:
    """What to do for one export: first take the old node away, if any, then offer the new file, if any."""

    name: str
    withdraw: str | None
    offer: DiskFile | None


class ExportTable:
    """Which files are offered, under which node names (never used twice), and which could not be."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str | None, DiskFile]] = {}
        self._nodes = 0

    def changes(self, found: Mapping[str, DiskFile]) -> list[Change]:
        """What has to be done so that just these are offered."""
        changes = []
        for name in sorted(self._known.keys() | found.keys()):
            node, disk = self._known.get(name, (None, None))
            wanted = found.get(name)
            if disk != wanted:
                changes.append(Change(name, node, wanted))
        return changes

    def new_node(self) -> str:
        """A node name that was never used."""
        self._nodes += 1
        return f"disk{self._nodes}"

    def forget(self, name: str) -> None:
        """The export is gone."""
        self._known.pop(name, None)

    def note(self, name: str, node: str | None, disk: DiskFile) -> None:
        """The file is offered under this node, or (None) it cannot be, which only another file would change."""
        self._known[name] = (node, disk)


def disks(datastores: Path) -> dict[str, DiskFile]:
    """Every file `<datastore>/<vm>/disk.<n>`, by the name of its export; links are followed, broken ones left out."""
    found: dict[str, DiskFile] = {}
    for datastore in _numbered(datastores):
        for vm in _numbered(datastore.path):
            for entry in _entries(vm.path):
                number = entry.name.removeprefix("disk.")
                if entry.name.startswith("disk.") and number.isdigit():
                    disk = _disk(entry.path)
                    if disk:
                        found.setdefault(f"one-{vm.name}-disk-{number}", disk)
    return found


def _numbered(folder: Path | str) -> list["os.DirEntry[str]"]:
    return [entry for entry in _entries(folder) if entry.name.isdigit() and entry.is_dir()]


def _entries(folder: Path | str) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _disk(path: str) -> DiskFile | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    if not os.path.isfile(path) or found.st_size == 0:
        return None
    return DiskFile(os.path.realpath(path), found.st_dev, found.st_ino, found.st_size)


class StorageDaemonEndedError(Exception):
    """The storage daemon is gone."""


class StorageDaemon:
    """A qemu-storage-daemon and the conversation with it."""

    def __init__(self, child: Child, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._child = child
        self._reader = reader
        self._writer = writer
        self._ended_exports: set[str] = set()

    @classmethod
    async def start(cls, children: Children, log: Path) -> "StorageDaemon":
        """Starts it with no exports."""
        ours, theirs = socket.socketpair()
        with theirs:
            number = theirs.fileno()
            server = f"addr.type=inet,addr.host={CONTROLLER_ADDRESS},addr.port={NBD_PORT},max-connections=0"
            argv = ["qemu-storage-daemon", "--chardev", f"socket,id=qmp,fd={number}", "--monitor", "chardev=qmp"]
            child = children.start([*argv, "--nbd-server", server], log, pass_fds=[number])
        reader, writer = await asyncio.open_connection(sock=ours)
        daemon = cls(child, reader, writer)
        await daemon._execute("qmp_capabilities")
        return daemon

    async def offer(self, name: str, node: str, disk: DiskFile) -> None:
        """Exports the file for writing."""
        await self._execute("blockdev-add", driver="file", node_name=node, filename=disk.path, locking="off")
        try:
            await self._execute("block-export-add", type="nbd", id=node, node_name=node, name=name, writable=True)
        except RackError:
            await self._execute("blockdev-del", node_name=node)
            raise

    async def withdraw(self, node: str) -> None:
        """Ends the export, also for clients that use it."""
        await self._execute("block-export-del", id=node, mode="hard")
        while node not in self._ended_exports:
            await self._read()
        self._ended_exports.discard(node)
        await self._execute("blockdev-del", node_name=node)

    async def pause(self, seconds: float) -> None:
        """Waits this long, but not on a daemon that has ended."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._child.ended.wait(), seconds)
        if not self._child.running:
            raise StorageDaemonEndedError("qemu-storage-daemon ended by itself")

    async def stop(self) -> None:
        """Ends it and returns when it is gone."""
        self._writer.close()
        await self._child.kill()

    async def _execute(self, command: str, **arguments: object) -> None:
        fields = {key.replace("_", "-"): value for key, value in arguments.items()}
        self._writer.write(json.dumps({"execute": command, "arguments": fields}).encode() + b"\n")
        answer = await self._read()
        while "return" not in answer and "error" not in answer:
            answer = await self._read()
        if "error" in answer:
            raise RackError(f"qemu-storage-daemon refuses {command} {fields}: {answer['error'].get('desc')}")

    async def _read(self) -> dict[str, Any]:
        line = await asyncio.wait_for(self._reader.readline(), _QMP_LIMIT_S)
        if not line:
            raise StorageDaemonEndedError("qemu-storage-daemon ended by itself")
        message: dict[str, Any] = json.loads(line)
        if message.get("event") == "BLOCK_EXPORT_DELETED":
            self._ended_exports.add(message["data"]["id"])
        return message


class NbdStorage:
    """Keeps the exports equal to the files, and the daemon alive."""

    def __init__(self, layout: Layout, children: Children) -> None:
        self._datastores = layout.datastores
        self._log = layout.root / "nbd.log"
        self._children = children

    async def run(self, started: asyncio.Event) -> None:
        """Serves until cancelled; sets `started` when clients can connect."""
        while True:
            daemon = await StorageDaemon.start(self._children, self._log)
            started.set()
            try:
                await self._serve(daemon)
            except (StorageDaemonEndedError, ConnectionError) as exc:
                print(f"nbd: {exc}; it is started again", flush=True)
            finally:
                await daemon.stop()
            await asyncio.sleep(_RESTART_PAUSE_S)

    async def _serve(self, daemon: StorageDaemon) -> None:
        table = ExportTable()
        while True:
            for change in table.changes(disks(self._datastores)):
                if change.withdraw:
                    await daemon.withdraw(change.withdraw)
                table.forget(change.name)
                if change.offer:
                    await self._offer(daemon, table, change.name, change.offer)
            await daemon.pause(_POLL_S)

    async def _offer(self, daemon: StorageDaemon, table: ExportTable, name: str, disk: DiskFile) -> None:
        node: str | None = table.new_node()
        try:
            await daemon.offer(name, str(node), disk)
        except RackError as exc:  # this disk's trouble must not be that of the others
            print(f"nbd: {name} is not offered: {exc}", flush=True)
            node = None
        table.note(name, node, disk)
