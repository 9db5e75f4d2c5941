"""Everything that can happen to a VM, as the names that the transition table uses."""

from enum import Enum

from holdfast.model.enums import EffectKind, RecoverOperation


class VmEvent(Enum):
    """An event of the lifecycle; the value is what messages call it."""

    HOLD = "hold"
    RELEASE = "release"
    DEPLOY = "deploy"
    MIGRATE = "migrate"
    POWEROFF = "poweroff"
    POWEROFF_HARD = "poweroff-hard"
    RESUME = "resume"
    REBOOT = "reboot"
    REBOOT_HARD = "reboot-hard"
    TERMINATE = "terminate"
    TERMINATE_HARD = "terminate-hard"
    RESCHED = "resched"
    UNRESCHED = "unresched"
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
    CLEANUP_ENDED = "domain removed"
    DELETE_ENDED = "files removed"

    SEEN_RUNNING = "seen running"
    SEEN_POWEROFF = "seen powered off"
    SEEN_FAILURE = "seen failed"
    HOST_ERROR = "host lost"
    HOST_DEAD = "host proven dead"


USER_ACTIONS: dict[str, VmEvent] = {
    event.value: event
    for event in (
        VmEvent.HOLD,
        VmEvent.RELEASE,
        VmEvent.POWEROFF,
        VmEvent.POWEROFF_HARD,
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

ANSWERS: dict[EffectKind, tuple[VmEvent, VmEvent]] = {
    EffectKind.TM_PROLOG: (VmEvent.PROLOG_OK, VmEvent.PROLOG_FAIL),
    EffectKind.TM_MIGRATE: (VmEvent.PROLOG_OK, VmEvent.PROLOG_FAIL),
    EffectKind.VMM_DEPLOY: (VmEvent.BOOT_OK, VmEvent.BOOT_FAIL),
    EffectKind.VMM_SHUTDOWN: (VmEvent.SHUTDOWN_OK, VmEvent.SHUTDOWN_FAIL),
    EffectKind.VMM_CANCEL: (VmEvent.SHUTDOWN_OK, VmEvent.SHUTDOWN_FAIL),
    EffectKind.TM_EPILOG: (VmEvent.EPILOG_OK, VmEvent.EPILOG_FAIL),
    EffectKind.VMM_CLEANUP: (VmEvent.CLEANUP_ENDED, VmEvent.CLEANUP_ENDED),
    EffectKind.TM_DELETE: (VmEvent.DELETE_ENDED, VmEvent.DELETE_ENDED),
}
"""What a driver's success and failure mean for the VM that waits for it."""
