"""The files of a job's VM: its checkpoint, the layers of its disks.

On a shared datastore they are worked on where the controller has mounted it; on one that is not shared they are the
host's own, and the transfer driver's hand works on them there.  What stands in the way of that is an OSError here, as
it would be on a mount.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from holdfast.drivers import expendable
from holdfast.drivers.tm.host_files import HostFiles
from holdfast.drivers.tm.layers import described, layer_to_run
from holdfast.drivers.tm.remote import Hands
from holdfast.drivers.tm.tools import Clockwork
from holdfast.drivers.vmm.checkpoint import Checkpoint
from holdfast.drivers.vmm.hypervisor import HypervisorConfig
from holdfast.drivers.vmm.jobs import Job
from holdfast.model.errors import HoldfastError

T = TypeVar("T")


class HostFilesFailed(OSError):
    """The host's own files could not be worked on."""

    def __str__(self) -> str:
        return str(self.strerror)


class VmStorage:
    """Without ``hands`` there is no way to the hosts' own files."""

    def __init__(self, config: HypervisorConfig, hands: Hands | None) -> None:
        self._config, self._hands = config, hands

    def checkpoint_path(self, job: Job) -> Path:
        """Where the VM's memory is saved, as its host sees it."""
        return Checkpoint(job.directory(self._config)).path

    def draft_path(self, job: Job) -> Path:
        """Where the hypervisor writes it."""
        return Checkpoint(job.directory(self._config)).draft

    async def prepare_checkpoint(self, job: Job) -> None:
        """As :meth:`Checkpoint.prepare`; like all here it raises OSError or Overdue."""
        await self._checkpoint(job, "prepare")

    async def complete_checkpoint(self, job: Job, since: float, now: float) -> bool:
        """As :meth:`Checkpoint.complete`."""
        return bool(await self._checkpoint(job, "complete", since, now))

    async def checkpoint_trouble(self, job: Job) -> str:
        """As :meth:`Checkpoint.trouble`."""
        return str(await self._checkpoint(job, "trouble"))

    async def checkpoint_is_gone(self, job: Job) -> bool:
        """As :meth:`Checkpoint.is_gone`."""
        return bool(await self._checkpoint(job, "is_gone"))

    async def use_checkpoint(self, job: Job) -> None:
        """As :meth:`Checkpoint.use`."""
        await self._checkpoint(job, "use")

    async def discard_checkpoint(self, job: Job) -> None:
        """As :meth:`Checkpoint.discard`."""
        await self._checkpoint(job, "discard")

    async def _checkpoint(self, job: Job, act: str, *arguments: float) -> Any:
        directory, limit_s = job.directory(self._config), job.left_s + job.margin_s
        if there := self._there(job):
            return await _of_host(there.checkpoint(directory, act, limit_s, *arguments))
        work = partial(getattr(Checkpoint(directory), act), *arguments)
        return await expendable.call(work, limit_s, f"{act} of {directory}/checkpoint")

    async def layers_to_run(self, job: Job, disks: Sequence[Path]) -> dict[str, str]:
        """The file to give to the domain for each of these qcow2 disks that is there."""
        if not disks:
            return {}
        if there := self._there(job):
            paths = await _of_host(there.layers_to_run(disks, job.left_s))
        else:
            what = f"looking for the disks of VM {job.vm.oid}"
            found = await expendable.call(lambda: [layer_to_run(disk) for disk in disks], job.left_s, what)
            paths = [layer.path if layer else None for layer in found]
        return {str(disk): str(path) for disk, path in zip(disks, paths, strict=True) if path}

    async def snapshots_in(self, job: Job, disk: Path) -> list[str]:
        """The names of the snapshots that a qcow2 file holds, in use or not; raises TransferError, too."""
        if there := self._there(job):
            return await _of_host(there.snapshots_in(disk, job.left_s))
        about = await described(disk, Clockwork(job.left_s))
        return [snapshot["name"] for snapshot in about.get("snapshots", ())]

    def _there(self, job: Job) -> HostFiles | None:
        """The host's own files; None when its storage is shared."""
        if job.datastore.shared:
            return None
        if self._hands is None:
            message = f"the files of VM {job.vm.oid} are on {job.record.hostname} alone, and there is no way to them"
            raise HostFilesFailed(errno.EIO, message)
        return HostFiles(self._hands, job.record.hostname, job.vm.oid)


async def _of_host(work: Awaitable[T]) -> T:
    try:
        return await work
    except HoldfastError as error:
        raise HostFilesFailed(errno.EIO, error.message) from None
