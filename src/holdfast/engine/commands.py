"""What users can ask the engine to do: one immutable value per API method that changes something.

Arguments carry the types of OpenNebula's XML-RPC methods; the answer to each is the id of the object.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Command:
    """Base of all commands."""


@dataclass(frozen=True, slots=True)
class _OnObject(Command):
    oid: int


@dataclass(frozen=True, slots=True)
class _Update(_OnObject):
    text: str
    append: bool = False


@dataclass(frozen=True, slots=True)
class _Rename(_OnObject):
    name: str


# --- hosts


@dataclass(frozen=True, slots=True)
class AllocateHost(Command):
    """``one.host.allocate``; cluster -1 means the default cluster."""

    name: str
    im_mad: str
    vm_mad: str
    cluster_id: int = -1


@dataclass(frozen=True, slots=True)
class DeleteHost(_OnObject):
    """``one.host.delete``; refused while VMs are on the host."""


@dataclass(frozen=True, slots=True)
class UpdateHost(_Update):
    """``one.host.update``."""


@dataclass(frozen=True, slots=True)
class RenameHost(_Rename):
    """``one.host.rename``."""


@dataclass(frozen=True, slots=True)
class SetHostStatus(_OnObject):
    """``one.host.status``: 0 enable, 1 disable, 2 offline."""

    status: int


# --- datastores and images


@dataclass(frozen=True, slots=True)
class AllocateDatastore(Command):
    """``one.datastore.allocate``."""

    text: str
    cluster_id: int = -1


@dataclass(frozen=True, slots=True)
class DeleteDatastore(_OnObject):
    """``one.datastore.delete``; refused while it holds images or VMs."""


@dataclass(frozen=True, slots=True)
class UpdateDatastore(_Update):
    """``one.datastore.update``."""


@dataclass(frozen=True, slots=True)
class RenameDatastore(_Rename):
    """``one.datastore.rename``."""


@dataclass(frozen=True, slots=True)
class EnableDatastore(_OnObject):
    """``one.datastore.enable``."""

    enable: bool


@dataclass(frozen=True, slots=True)
class AllocateImage(Command):
    """``one.image.allocate``."""

    text: str
    ds_id: int
    skip_capacity_check: bool = False


@dataclass(frozen=True, slots=True)
class DeleteImage(_OnObject):
    """``one.image.delete``; refused while VMs use it."""

    force: bool = False


@dataclass(frozen=True, slots=True)
class UpdateImage(_Update):
    """``one.image.update``."""


@dataclass(frozen=True, slots=True)
class RenameImage(_Rename):
    """``one.image.rename``."""


@dataclass(frozen=True, slots=True)
class EnableImage(_OnObject):
    """``one.image.enable``."""

    enable: bool


@dataclass(frozen=True, slots=True)
class PersistImage(_OnObject):
    """``one.image.persistent``."""

    persistent: bool


@dataclass(frozen=True, slots=True)
class CloneImage(_OnObject):
    """``one.image.clone``; answers the id of the new image.  Datastore -1 is that of the image."""

    name: str
    ds_id: int = -1


@dataclass(frozen=True, slots=True)
class ChangeImageType(_OnObject):
    """``one.image.chtype``."""

    type: str


@dataclass(frozen=True, slots=True)
class LockImage(_OnObject):
    """``one.image.lock``; ``test`` fails when it is locked already."""

    level: int
    test: bool = False


@dataclass(frozen=True, slots=True)
class UnlockImage(_OnObject):
    """``one.image.unlock``."""


# --- virtual machines


@dataclass(frozen=True, slots=True)
class AllocateVm(Command):
    """``one.vm.allocate``."""

    text: str
    hold: bool = False


@dataclass(frozen=True, slots=True)
class DeployVm(_OnObject):
    """``one.vm.deploy``."""

    hid: int
    enforce: bool = False
    ds_id: int = -1
    text: str = ""


@dataclass(frozen=True, slots=True)
class MigrateVm(_OnObject):
    """``one.vm.migrate``; type 0 save, 1 poweroff, 2 poweroff-hard."""

    hid: int
    live: bool = False
    enforce: bool = False
    ds_id: int = -1
    type: int = 0


@dataclass(frozen=True, slots=True)
class VmAction(_OnObject):
    """``one.vm.action``: terminate, poweroff-hard, resched, …"""

    action: str


@dataclass(frozen=True, slots=True)
class RecoverVm(_OnObject):
    """``one.vm.recover``: operation 0 to 5."""

    operation: int


@dataclass(frozen=True, slots=True)
class UpdateVm(_Update):
    """``one.vm.update``: the user template."""


@dataclass(frozen=True, slots=True)
class RenameVm(_Rename):
    """``one.vm.rename``."""


# --- devices, snapshots and size of a virtual machine


@dataclass(frozen=True, slots=True)
class AttachDisk(_OnObject):
    """``one.vm.attach``: a template with one DISK."""

    text: str


@dataclass(frozen=True, slots=True)
class DetachDisk(_OnObject):
    """``one.vm.detach``."""

    disk_id: int


@dataclass(frozen=True, slots=True)
class AttachNic(_OnObject):
    """``one.vm.attachnic``: a template with one NIC."""

    text: str


@dataclass(frozen=True, slots=True)
class DetachNic(_OnObject):
    """``one.vm.detachnic``."""

    nic_id: int


@dataclass(frozen=True, slots=True)
class CreateSnapshot(_OnObject):
    """``one.vm.snapshotcreate``; answers the snapshot's id."""

    name: str = ""


@dataclass(frozen=True, slots=True)
class RevertSnapshot(_OnObject):
    """``one.vm.snapshotrevert``."""

    snap_id: int


@dataclass(frozen=True, slots=True)
class DeleteSnapshot(_OnObject):
    """``one.vm.snapshotdelete``."""

    snap_id: int


@dataclass(frozen=True, slots=True)
class CreateDiskSnapshot(_OnObject):
    """``one.vm.disksnapshotcreate``; answers the snapshot's id."""

    disk_id: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class RevertDiskSnapshot(_OnObject):
    """``one.vm.disksnapshotrevert``."""

    disk_id: int
    snap_id: int


@dataclass(frozen=True, slots=True)
class DeleteDiskSnapshot(_OnObject):
    """``one.vm.disksnapshotdelete``; refused for a snapshot that others, or the disk, are based on."""

    disk_id: int
    snap_id: int


@dataclass(frozen=True, slots=True)
class RenameDiskSnapshot(_OnObject):
    """``one.vm.disksnapshotrename``."""

    disk_id: int
    snap_id: int
    name: str


@dataclass(frozen=True, slots=True)
class ResizeDisk(_OnObject):
    """``one.vm.diskresize``: the new size in MB; a disk does not shrink."""

    disk_id: int
    size: str


@dataclass(frozen=True, slots=True)
class ResizeVm(_OnObject):
    """``one.vm.resize``: CPU, VCPU, MEMORY (MB) in a template; ``enforce`` checks the host's capacity."""

    text: str
    enforce: bool = True


# --- hooks


@dataclass(frozen=True, slots=True)
class AllocateHook(Command):
    """``one.hook.allocate``."""

    text: str


@dataclass(frozen=True, slots=True)
class DeleteHook(_OnObject):
    """``one.hook.delete``; its log goes with it."""


@dataclass(frozen=True, slots=True)
class UpdateHook(_Update):
    """``one.hook.update``."""


@dataclass(frozen=True, slots=True)
class RenameHook(_Rename):
    """``one.hook.rename``."""


@dataclass(frozen=True, slots=True)
class LockHook(_OnObject):
    """``one.hook.lock``; ``test`` fails when it is locked already."""

    level: int
    test: bool = False


@dataclass(frozen=True, slots=True)
class UnlockHook(_OnObject):
    """``one.hook.unlock``."""


@dataclass(frozen=True, slots=True)
class RetryHook(_OnObject):
    """``one.hook.retry``: runs the hook again with the arguments of an earlier execution."""

    execution_id: int


# --- failovers (extension)


@dataclass(frozen=True, slots=True)
class AllocateFailover(Command):
    """``one.failover.allocate``: mode migrate, recreate or delete; flags FORCE, PAUSE, FENCING as template text."""

    host_id: int
    mode: str
    flags: str = ""


@dataclass(frozen=True, slots=True)
class RetryFailover(_OnObject):
    """``one.failover.retry``: goes on where a BLOCKED failover stopped."""


@dataclass(frozen=True, slots=True)
class ConfirmFailover(_OnObject):
    """``one.failover.confirm``: the operator vouches that the host is off."""

    comment: str = ""


@dataclass(frozen=True, slots=True)
class AbortFailover(_OnObject):
    """``one.failover.abort``: gives up; VMs not yet restarted stay as they are."""
