"""Enumerations with OpenNebula's numbers, for everything but the VM (see :mod:`holdfast.model.vm_states`)."""

from enum import Enum, IntEnum


class HostState(IntEnum):
    """STATE of a host (numbers 1, 5, 6 and 7 of OpenNebula are no longer used)."""

    INIT = 0
    MONITORED = 2
    ERROR = 3
    DISABLED = 4
    OFFLINE = 8


class HostStatus(IntEnum):
    """Argument of ``one.host.status``."""

    ENABLED = 0
    DISABLED = 1
    OFFLINE = 2


class DatastoreType(IntEnum):
    """TYPE of a datastore."""

    IMAGE_DS = 0
    SYSTEM_DS = 1
    FILE_DS = 2
    BACKUP_DS = 3


class DatastoreState(IntEnum):
    """STATE of a datastore; only a system datastore can be disabled."""

    READY = 0
    DISABLED = 1


class ImageState(IntEnum):
    """STATE of an image."""

    INIT = 0
    READY = 1
    USED = 2
    DISABLED = 3
    LOCKED = 4
    ERROR = 5
    CLONE = 6
    DELETE = 7
    USED_PERS = 8
    LOCKED_USED = 9
    LOCKED_USED_PERS = 10


class ImageType(IntEnum):
    """TYPE of an image."""

    OS = 0
    CDROM = 1
    DATABLOCK = 2
    KERNEL = 3
    RAMDISK = 4
    CONTEXT = 5


class LockLevel(IntEnum):
    """What a lock forbids: an action of its own level and of those above; ALL forbids everything."""

    NONE = 0
    USE = 1
    MANAGE = 2
    ADMIN = 3
    ALL = 4


class HistoryAction(IntEnum):
    """ACTION of a history record: what closed it or is closing it (only the numbers that are ever stored)."""

    NONE = 0
    MIGRATE = 1
    LIVE_MIGRATE = 2
    UNDEPLOY = 5
    UNDEPLOY_HARD = 6
    STOP = 9
    SUSPEND = 10
    RESUME = 11
    DELETE = 13
    DELETE_RECREATE = 14
    POWEROFF = 19
    POWEROFF_HARD = 20
    DISK_ATTACH = 21
    DISK_DETACH = 22
    NIC_ATTACH = 23
    NIC_DETACH = 24
    DISK_SNAPSHOT_CREATE = 25
    DISK_SNAPSHOT_DELETE = 26
    TERMINATE = 27
    TERMINATE_HARD = 28
    DISK_RESIZE = 29
    RESIZE = 35
    DISK_SNAPSHOT_REVERT = 41
    MONITOR = 44
    POFF_MIGRATE = 48
    POFF_HARD_MIGRATE = 49
    BACKUP = 50
    RESTORE = 60


class RecoverOperation(IntEnum):
    """Argument of ``one.vm.recover``."""

    FAILURE = 0
    SUCCESS = 1
    RETRY = 2
    DELETE = 3
    RECREATE = 4
    DELETE_DB = 5


class FailoverState(IntEnum):
    """Where a failover is; the order is that of design section 5."""

    WATCHING = 0
    PROVING = 1
    FENCING = 2
    PLACING = 3
    RESTARTING = 4
    DONE = 5
    ABORTED = 6
    BLOCKED = 7

    @property
    def is_final(self) -> bool:
        """Nothing more will happen: DONE or ABORTED."""
        return self in (FailoverState.DONE, FailoverState.ABORTED)


class FailoverMode(Enum):
    """What happens to the VMs: the hook's -m, -r or -d."""

    MIGRATE = "migrate"
    RECREATE = "recreate"
    DELETE = "delete"


class RowState(Enum):
    """One VM within a failover."""

    WAITING = "WAITING"
    PLACED = "PLACED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"


class ProofKind(Enum):
    """How we know that a host cannot be running our VMs any more (design section 5)."""

    FENCED = "FENCED"
    POWER_OFF = "POWER_OFF"
    REBOOTED = "REBOOTED"
    OPERATOR = "OPERATOR"


class EffectKind(Enum):
    """What a driver can be asked to do."""

    TM_PROLOG = "tm.prolog"
    TM_MIGRATE = "tm.migrate"
    TM_EPILOG = "tm.epilog"
    TM_DELETE = "tm.delete"
    TM_RESUME = "tm.resume"
    TM_STOP = "tm.stop"
    TM_ATTACH = "tm.attach"
    TM_DETACH = "tm.detach"
    TM_SNAPSHOT_CREATE = "tm.snapshot_create"
    TM_SNAPSHOT_REVERT = "tm.snapshot_revert"
    TM_SNAPSHOT_DELETE = "tm.snapshot_delete"
    TM_RESIZE = "tm.resize"
    TM_SAVEAS = "tm.saveas"
    TM_RESTORE = "tm.restore"
    VMM_DEPLOY = "vmm.deploy"
    VMM_SHUTDOWN = "vmm.shutdown"
    VMM_CANCEL = "vmm.cancel"
    VMM_REBOOT = "vmm.reboot"
    VMM_RESET = "vmm.reset"
    VMM_CLEANUP = "vmm.cleanup"
    VMM_SAVE = "vmm.save"
    VMM_RESTORE = "vmm.restore"
    VMM_MIGRATE = "vmm.migrate"
    VMM_ATTACH_DISK = "vmm.attach_disk"
    VMM_DETACH_DISK = "vmm.detach_disk"
    VMM_ATTACH_NIC = "vmm.attach_nic"
    VMM_DETACH_NIC = "vmm.detach_nic"
    VMM_SNAPSHOT_CREATE = "vmm.snapshot_create"
    VMM_SNAPSHOT_REVERT = "vmm.snapshot_revert"
    VMM_SNAPSHOT_DELETE = "vmm.snapshot_delete"
    VMM_DISK_SNAPSHOT_CREATE = "vmm.disk_snapshot_create"
    VMM_RESIZE = "vmm.resize"
    VMM_RESIZE_DISK = "vmm.resize_disk"
    VMM_UPDATE_CONF = "vmm.update_conf"
    VMM_BACKUP = "vmm.backup"
    IMAGE_CREATE = "image.create"
    IMAGE_CLONE = "image.clone"
    IMAGE_DELETE = "image.delete"
    FENCE_OFF = "fence.off"
    FENCE_STATUS = "fence.status"
    HOOK = "hook.execute"
    TM_LINE = "tm.line"
    """One line of a transfer file by itself, in an interactive repair."""


class EffectState(Enum):
    """State of an effect in the journal."""

    PLANNED = "planned"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SUPERSEDED = "superseded"

    @property
    def is_open(self) -> bool:
        """The driver may still answer."""
        return self in (EffectState.PLANNED, EffectState.RUNNING)
