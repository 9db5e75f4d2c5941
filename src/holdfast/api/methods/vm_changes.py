"""The methods that change VMs, their devices, snapshots and size, as a table (see :mod:`.change`)."""

from __future__ import annotations

from holdfast.api.methods.change import NAME, UPDATE, change
from holdfast.api.methods.method import Method
from holdfast.engine import commands

_DISK = "oid:int disk_id:int"
_SNAPSHOT = "oid:int snap_id:int"
_DISK_SNAPSHOT = "oid:int disk_id:int snap_id:int"

_VMS: tuple[Method, ...] = (
    change("one.vm.allocate", commands.AllocateVm, "text:string hold:bool=false", "Creates a VM from a template."),
    change(
        "one.vm.deploy",
        commands.DeployVm,
        "oid:int hid:int enforce:bool=false ds_id:int=-1 text:string=",
        "Starts a VM on the host.",
    ),
    change(
        "one.vm.migrate",
        commands.MigrateVm,
        "oid:int hid:int live:bool enforce:bool=false ds_id:int=-1 type:int=0",
        "Moves a VM to another host: live, saved (0), powered off (1) or cut off (2).",
    ),
    change("one.vm.action", commands.VmAction, "action:string oid:int", "Does what the named action says to a VM."),
    change(
        "one.vm.recover",
        commands.RecoverVm,
        "oid:int operation:int",
        "Repairs a stuck VM: 0 failure, 1 success, 2 retry, 3 delete, 4 recreate, 5 delete-db.",
    ),
    change("one.vm.update", commands.UpdateVm, UPDATE, "Replaces or extends a VM's user template."),
    change("one.vm.rename", commands.RenameVm, NAME, "Gives a VM another name."),
)

_DEVICES: tuple[Method, ...] = (
    change("one.vm.attach", commands.AttachDisk, "oid:int text:string", "Attaches a disk: a template with one DISK."),
    change("one.vm.detach", commands.DetachDisk, _DISK, "Detaches a disk."),
    change("one.vm.attachnic", commands.AttachNic, "oid:int text:string", "Attaches a NIC: a template with one NIC."),
    change("one.vm.detachnic", commands.DetachNic, "oid:int nic_id:int", "Detaches a NIC."),
    change(
        "one.vm.diskresize",
        commands.ResizeDisk,
        "oid:int disk_id:int size:string",
        "Enlarges a disk; the new size is in MB.",
    ),
    change(
        "one.vm.resize",
        commands.ResizeVm,
        "oid:int text:string enforce:bool=true",
        "Changes CPU, VCPU and MEMORY; enforce refuses what the host cannot hold.",
    ),
)

_SNAPSHOTS: tuple[Method, ...] = (
    change("one.vm.snapshotcreate", commands.CreateSnapshot, NAME, "Takes a snapshot of the VM and answers its id."),
    change("one.vm.snapshotrevert", commands.RevertSnapshot, _SNAPSHOT, "Puts a VM back to a snapshot."),
    change("one.vm.snapshotdelete", commands.DeleteSnapshot, _SNAPSHOT, "Removes a snapshot of a VM."),
    change(
        "one.vm.disksnapshotcreate",
        commands.CreateDiskSnapshot,
        "oid:int disk_id:int name:string",
        "Takes a snapshot of a disk and answers its id.",
    ),
    change("one.vm.disksnapshotrevert", commands.RevertDiskSnapshot, _DISK_SNAPSHOT, "Puts a disk back to a snapshot."),
    change("one.vm.disksnapshotdelete", commands.DeleteDiskSnapshot, _DISK_SNAPSHOT, "Removes a snapshot of a disk."),
    change(
        "one.vm.disksnapshotrename",
        commands.RenameDiskSnapshot,
        "oid:int disk_id:int snap_id:int name:string",
        "Gives a snapshot of a disk another name.",
    ),
)

METHODS: tuple[Method, ...] = (*_VMS, *_DEVICES, *_SNAPSHOTS)
