"""Everything that can happen to a VM, as the names that the transition table uses."""

from enum import Enum

from holdfast.model.enums import EffectKind, RecoverOperation


class VmEvent(Enum):
    """An event of the lifecycle; the value is what messages call it."""

    HOLD = "hold"
    RELEASE = "release"
    DEPLOY = "deploy"
    MIGRATE = "migrate"
    """Of a VM that does not run."""
    MIGRATE_SAVE = "migrate (save)"
    MIGRATE_POWEROFF = "migrate (poweroff)"
    MIGRATE_POWEROFF_HARD = "migrate (poweroff-hard)"
    MIGRATE_LIVE = "migrate (live)"
    POWEROFF = "poweroff"
    POWEROFF_HARD = "poweroff-hard"
    SUSPEND = "suspend"
    STOP = "stop"
    UNDEPLOY = "undeploy"
    UNDEPLOY_HARD = "undeploy-hard"
    RESUME = "resume"
    REBOOT = "reboot"
    REBOOT_HARD = "reboot-hard"
    TERMINATE = "terminate"
    TERMINATE_HARD = "terminate-hard"
    RESCHED = "resched"
    UNRESCHED = "unresched"
    DISK_ATTACH = "disk-attach"
    DISK_DETACH = "disk-detach"
    NIC_ATTACH = "nic-attach"
    NIC_DETACH = "nic-detach"
    SNAPSHOT_CREATE = "snapshot-create"
    SNAPSHOT_REVERT = "snapshot-revert"
    SNAPSHOT_DELETE = "snapshot-delete"
    DISK_SNAPSHOT_CREATE = "disk-snapshot-create"
    DISK_SNAPSHOT_REVERT = "disk-snapshot-revert"
    DISK_SNAPSHOT_DELETE = "disk-snapshot-delete"
    DISK_RESIZE = "disk-resize"
    RESIZE = "resize"
    DISK_SAVEAS = "disk-saveas"
    BACKUP = "backup"
    RESTORE = "restore"
    UPDATE_CONF = "updateconf"
    RECOVER_FAILURE = "recover --failure"
    RECOVER_SUCCESS = "recover --success"
    RECOVER_RETRY = "recover --retry"
    RECOVER_DELETE = "recover --delete"
    RECOVER_RECREATE = "recover --recreate"
    RECOVER_DELETE_DB = "recover --delete-db"

    PROLOG_OK = "prolog done"
    PROLOG_FAIL = "prolog failed"
    BOOT_OK = "boot done"
    BOOT_FAIL = "boot failed"
    SHUTDOWN_OK = "shutdown done"
    SHUTDOWN_FAIL = "shutdown failed"
    EPILOG_OK = "epilog done"
    EPILOG_FAIL = "epilog failed"
    SAVE_OK = "save done"
    SAVE_FAIL = "save failed"
    OPERATION_OK = "operation done"
    OPERATION_FAIL = "operation failed"
    CLEANUP_ENDED = "domain removed"
    DELETE_ENDED = "files removed"

    SEEN_RUNNING = "seen running"
    SEEN_POWEROFF = "seen powered off"
    SEEN_FAILURE = "seen failed"
    SEEN_SUSPENDED = "seen suspended"
    SEEN_ELSEWHERE = "seen running elsewhere"
    """On another host than its record says, where it may run, and nowhere else."""
    IMAGES_READY = "images ready"
    IMAGES_FAILED = "images failed"
    RESTART_ELSEWHERE = "failover moves it"
    HOST_ERROR = "host lost"
    HOST_DEAD = "host proven dead"


USER_ACTIONS: dict[str, VmEvent] = {
    event.value: event
    for event in (
        VmEvent.HOLD,
        VmEvent.RELEASE,
        VmEvent.POWEROFF,
        VmEvent.POWEROFF_HARD,
        VmEvent.SUSPEND,
        VmEvent.STOP,
        VmEvent.UNDEPLOY,
        VmEvent.UNDEPLOY_HARD,
        VmEvent.RESUME,
        VmEvent.REBOOT,
        VmEvent.REBOOT_HARD,
        VmEvent.TERMINATE,
        VmEvent.TERMINATE_HARD,
        VmEvent.RESCHED,
        VmEvent.UNRESCHED,
    )
}
"""The strings of ``one.vm.action`` that this version carries out."""

RECOVERIES: dict[RecoverOperation, VmEvent] = {
    RecoverOperation.FAILURE: VmEvent.RECOVER_FAILURE,
    RecoverOperation.SUCCESS: VmEvent.RECOVER_SUCCESS,
    RecoverOperation.RETRY: VmEvent.RECOVER_RETRY,
    RecoverOperation.DELETE: VmEvent.RECOVER_DELETE,
    RecoverOperation.RECREATE: VmEvent.RECOVER_RECREATE,
    RecoverOperation.DELETE_DB: VmEvent.RECOVER_DELETE_DB,
}
"""The operations of ``one.vm.recover``."""

OPERATIONS = (
    EffectKind.TM_ATTACH,
    EffectKind.TM_DETACH,
    EffectKind.TM_SNAPSHOT_CREATE,
    EffectKind.TM_SNAPSHOT_REVERT,
    EffectKind.TM_SNAPSHOT_DELETE,
    EffectKind.TM_RESIZE,
    EffectKind.TM_SAVEAS,
    EffectKind.TM_RESTORE,
    EffectKind.VMM_ATTACH_DISK,
    EffectKind.VMM_DETACH_DISK,
    EffectKind.VMM_ATTACH_NIC,
    EffectKind.VMM_DETACH_NIC,
    EffectKind.VMM_SNAPSHOT_CREATE,
    EffectKind.VMM_SNAPSHOT_REVERT,
    EffectKind.VMM_SNAPSHOT_DELETE,
    EffectKind.VMM_DISK_SNAPSHOT_CREATE,
    EffectKind.VMM_RESIZE,
    EffectKind.VMM_RESIZE_DISK,
    EffectKind.VMM_UPDATE_CONF,
    EffectKind.VMM_BACKUP,
)
"""Effects that carry out a VM's :class:`~holdfast.model.vm.Operation`."""

ANSWERS: dict[EffectKind, tuple[VmEvent, VmEvent]] = {
    EffectKind.TM_PROLOG: (VmEvent.PROLOG_OK, VmEvent.PROLOG_FAIL),
    EffectKind.TM_MIGRATE: (VmEvent.PROLOG_OK, VmEvent.PROLOG_FAIL),
    EffectKind.VMM_DEPLOY: (VmEvent.BOOT_OK, VmEvent.BOOT_FAIL),
    EffectKind.VMM_SHUTDOWN: (VmEvent.SHUTDOWN_OK, VmEvent.SHUTDOWN_FAIL),
    EffectKind.VMM_CANCEL: (VmEvent.SHUTDOWN_OK, VmEvent.SHUTDOWN_FAIL),
    EffectKind.TM_EPILOG: (VmEvent.EPILOG_OK, VmEvent.EPILOG_FAIL),
    EffectKind.TM_RESUME: (VmEvent.PROLOG_OK, VmEvent.PROLOG_FAIL),
    EffectKind.VMM_RESTORE: (VmEvent.BOOT_OK, VmEvent.BOOT_FAIL),
    EffectKind.VMM_MIGRATE: (VmEvent.BOOT_OK, VmEvent.BOOT_FAIL),
    EffectKind.VMM_SAVE: (VmEvent.SAVE_OK, VmEvent.SAVE_FAIL),
    EffectKind.TM_STOP: (VmEvent.EPILOG_OK, VmEvent.EPILOG_FAIL),
    **dict.fromkeys(OPERATIONS, (VmEvent.OPERATION_OK, VmEvent.OPERATION_FAIL)),
    EffectKind.VMM_CLEANUP: (VmEvent.CLEANUP_ENDED, VmEvent.CLEANUP_ENDED),
    EffectKind.TM_DELETE: (VmEvent.DELETE_ENDED, VmEvent.DELETE_ENDED),
}
"""What a driver's success and failure mean for the VM that waits for it."""
