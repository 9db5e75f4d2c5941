"""From running to off: power-off, suspend, stop, undeploy; and the signals that leave a VM running."""

from __future__ import annotations

from holdfast.lifecycle.events import VmEvent as E
from holdfast.lifecycle.positions import (
    EPILOG_STOP,
    EPILOG_STOP_FAILURE,
    EPILOG_UNDEPLOY,
    EPILOG_UNDEPLOY_FAILURE,
    POWEROFF,
    RUNNING,
    SAVE_STOP,
    SAVE_SUSPEND,
    SHUTDOWN_POWEROFF,
    SHUTDOWN_UNDEPLOY,
    STOPPED,
    SUSPENDED,
    UNDEPLOYED,
    UNKNOWN,
)
from holdfast.lifecycle.row import At, Row, rows
from holdfast.lifecycle.vocabulary import Change as C
from holdfast.lifecycle.vocabulary import Guard
from holdfast.model.enums import EffectKind

_PARKED = (C.EPILOG_ENDS, C.CLOSE_RECORD, C.GIVE_CAPACITY)

POWEROFFS = rows(
    Row((UNKNOWN,), E.POWEROFF, POWEROFF, (C.ACTION_POWEROFF, C.RUN_ENDS), None, Guard.NOWHERE),
    Row((UNKNOWN,), E.POWEROFF_HARD, POWEROFF, (C.ACTION_POWEROFF_HARD, C.RUN_ENDS), None, Guard.NOWHERE),
    Row(
        (RUNNING, UNKNOWN),
        E.POWEROFF,
        SHUTDOWN_POWEROFF,
        (C.ACTION_POWEROFF, C.SOFTLY, C.DROP_RESCHED),
        EffectKind.VMM_SHUTDOWN,
        Guard.HOST_IN_TOUCH,
    ),
    Row(
        (RUNNING, UNKNOWN, SHUTDOWN_POWEROFF),
        E.POWEROFF_HARD,
        SHUTDOWN_POWEROFF,
        (C.ACTION_POWEROFF_HARD, C.HARDLY, C.DROP_RESCHED),
        EffectKind.VMM_CANCEL,
        Guard.HOST_IN_TOUCH,
    ),
    Row((SHUTDOWN_POWEROFF,), E.SHUTDOWN_OK, POWEROFF, (C.RUN_ENDS, C.STOPPED_HERE)),
    Row((SHUTDOWN_POWEROFF,), E.SHUTDOWN_FAIL, RUNNING, (C.CLEAR_ACTION, C.MAY_RUN_HERE)),
)

SAVES = rows(
    Row(
        (RUNNING,),
        E.SUSPEND,
        SAVE_SUSPEND,
        (C.ACTION_SUSPEND, C.DROP_RESCHED),
        EffectKind.VMM_SAVE,
        Guard.HOST_IN_TOUCH,
    ),
    Row((SAVE_SUSPEND,), E.SAVE_OK, SUSPENDED, (C.RUN_ENDS, C.STOPPED_HERE)),
    Row((SAVE_SUSPEND,), E.SAVE_FAIL, RUNNING, (C.CLEAR_ACTION, C.MAY_RUN_HERE)),
    Row((RUNNING,), E.STOP, SAVE_STOP, (C.ACTION_STOP, C.DROP_RESCHED), EffectKind.VMM_SAVE, Guard.ONLY_HERE),
    Row((SUSPENDED,), E.STOP, EPILOG_STOP, (C.ACTION_STOP, C.EPILOG_STARTS), EffectKind.TM_STOP, Guard.NOWHERE),
    Row(
        (SAVE_STOP,),
        E.SAVE_OK,
        EPILOG_STOP,
        (C.STOPPED_HERE, C.EPILOG_STARTS),
        EffectKind.TM_STOP,
        Guard.LEFT_NOWHERE,
    ),
    Row((SAVE_STOP,), E.SAVE_OK, SUSPENDED, (C.RUN_ENDS, C.STOPPED_HERE)),
    Row((SAVE_STOP,), E.SAVE_FAIL, RUNNING, (C.CLEAR_ACTION, C.MAY_RUN_HERE)),
    Row((EPILOG_STOP,), E.EPILOG_OK, STOPPED, _PARKED),
    Row((EPILOG_STOP,), E.EPILOG_FAIL, EPILOG_STOP_FAILURE),
)


def _undeploys(event: E, action: C) -> tuple[Row, ...]:
    """A VM that runs nowhere (off, or proven dead with its host) is undeployed without the hypervisor's help."""
    effect = EffectKind.VMM_CANCEL if event is E.UNDEPLOY_HARD else EffectKind.VMM_SHUTDOWN
    way = C.HARDLY if event is E.UNDEPLOY_HARD else C.SOFTLY
    gone = (action, C.EPILOG_STARTS, C.DROP_RESCHED)
    off = (C.ACTION_UNDEPLOY, C.EPILOG_STARTS)
    rest = (C.ACTION_UNDEPLOY, C.HARDLY, C.DROP_RESCHED)
    return (
        Row((POWEROFF,), event, EPILOG_UNDEPLOY, off, EffectKind.TM_STOP, Guard.NOWHERE),
        Row((UNKNOWN,), event, EPILOG_UNDEPLOY, gone, EffectKind.TM_STOP, Guard.NOWHERE),
        Row((POWEROFF,), event, SHUTDOWN_UNDEPLOY, rest, EffectKind.VMM_CANCEL, Guard.ONLY_HERE),
        Row((RUNNING, UNKNOWN), event, SHUTDOWN_UNDEPLOY, (action, way, C.DROP_RESCHED), effect, Guard.ONLY_HERE),
    )


UNDEPLOYS = rows(
    *_undeploys(E.UNDEPLOY, C.ACTION_UNDEPLOY),
    *_undeploys(E.UNDEPLOY_HARD, C.ACTION_UNDEPLOY_HARD),
    Row(
        (SHUTDOWN_UNDEPLOY,),
        E.UNDEPLOY_HARD,
        SHUTDOWN_UNDEPLOY,
        (C.ACTION_UNDEPLOY_HARD, C.HARDLY, C.DROP_RESCHED),
        EffectKind.VMM_CANCEL,
        Guard.ONLY_HERE,
    ),
    Row(
        (SHUTDOWN_UNDEPLOY,),
        E.SHUTDOWN_OK,
        EPILOG_UNDEPLOY,
        (C.STOPPED_HERE, C.EPILOG_STARTS),
        EffectKind.TM_STOP,
        Guard.LEFT_NOWHERE,
    ),
    Row(
        (SHUTDOWN_UNDEPLOY,),
        E.SHUTDOWN_OK,
        SHUTDOWN_UNDEPLOY,
        (C.STOPPED_HERE,),
        EffectKind.VMM_CANCEL,
        at=At.WHERE_IT_MAY_RUN,
    ),
    Row((SHUTDOWN_UNDEPLOY,), E.SHUTDOWN_FAIL, RUNNING, (C.CLEAR_ACTION, C.MAY_RUN_HERE)),
    Row((EPILOG_UNDEPLOY,), E.EPILOG_OK, UNDEPLOYED, _PARKED),
    Row((EPILOG_UNDEPLOY,), E.EPILOG_FAIL, EPILOG_UNDEPLOY_FAILURE),
)

SIGNALS = rows(
    Row((RUNNING,), E.REBOOT, None, (C.DROP_RESCHED,), EffectKind.VMM_REBOOT),
    Row((RUNNING,), E.REBOOT_HARD, None, (C.DROP_RESCHED,), EffectKind.VMM_RESET),
)
