"""Where removals differ: the domain first when one may exist, then the files; DONE and PENDING wait for both.

Files are removed where they are, on the front-end if the VM was parked.  A step that has ended keeps the time of its
end, and EETIME is stamped only when an epilog has succeeded: it tells that the files have moved.
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.unit.lifecycle.reference.deviation_names import LEAK, WHOLE, ZOMBIES
from tests.unit.lifecycle.reference.expectation import Instead, Table, entries, keys

PARKED = ("stopped", "undeployed", "undeployed hard")
UNPARKED = ("new", "recreated")
FAILED_BOOTS = "BOOT_FAILURE BOOT_MIGRATE_FAILURE BOOT_STOPPED_FAILURE BOOT_UNDEPLOY_FAILURE"
TRANSFERS = (
    "PROLOG PROLOG_RESUME PROLOG_UNDEPLOY PROLOG_MIGRATE PROLOG_MIGRATE_POWEROFF PROLOG_MIGRATE_SUSPEND "
    "PROLOG_MIGRATE_UNKNOWN EPILOG_STOP EPILOG_UNDEPLOY"
)
_EPILOGS = "EPILOG_STOP EPILOG_UNDEPLOY EPILOG_STOP_FAILURE EPILOG_UNDEPLOY_FAILURE"
_FAILED_EPILOGS = "EPILOG_STOP_FAILURE EPILOG_UNDEPLOY_FAILURE"
_PROLOGS = " ".join(name for name in TRANSFERS.split() if name.startswith("PROLOG"))
_FAILED_PROLOGS = " ".join(f"{name}_FAILURE" for name in _PROLOGS.split())
_PLAIN = (
    "BOOT BOOT_UNKNOWN BOOT_POWEROFF BOOT_SUSPENDED BOOT_STOPPED BOOT_UNDEPLOY BOOT_MIGRATE RUNNING UNKNOWN MIGRATE "
    "SAVE_STOP SAVE_SUSPEND SAVE_MIGRATE SHUTDOWN SHUTDOWN_POWEROFF SHUTDOWN_UNDEPLOY HOTPLUG HOTPLUG_NIC "
    "HOTPLUG_SNAPSHOT HOTPLUG_SAVEAS HOTPLUG_RESIZE HOTPLUG_PROLOG_POWEROFF HOTPLUG_EPILOG_POWEROFF DISK_SNAPSHOT "
    "DISK_SNAPSHOT_POWEROFF DISK_SNAPSHOT_REVERT_POWEROFF DISK_SNAPSHOT_DELETE_POWEROFF DISK_SNAPSHOT_SUSPENDED "
    "DISK_SNAPSHOT_DELETE_SUSPENDED DISK_RESIZE DISK_RESIZE_POWEROFF BACKUP BACKUP_POWEROFF RESTORE"
)

_STAMPED = {"RETIME=now": "RETIME=now if 0"}
_NOT_MOVED = {"EETIME=now": "none"}
_FILES_ONLY = {"driver_action": "TM:driver_cancel + TM:epilog_delete"}
_DOMAIN_TOO = {"driver_action": "VMM:driver_cancel + VMM:cleanup"}
_ON_FRONTEND = {**_FILES_ONLY, "driver_host": "frontend"}
_PARKED_FILES = {"driver_action": "TM:epilog_delete", "driver_host": "frontend"}
_CLEANS_UP = {"next_state": "ACTIVE", "next_lcm_state": "CLEANUP_DELETE"}
_CLEANS_UP_FIRST = {"next_state": "ACTIVE", "next_lcm_state": "CLEANUP_RESUBMIT"}
_ENDS_PENDING = {"final_state_if_driver_ok": "PENDING", "final_lcm_state_if_driver_ok": "LCM_INIT"}
_AT_ONCE = "Passes through CLEANUP_DELETE; DONE does not wait for the driver and its result is ignored"
_WAITS = "DONE waits for the clean-up"
_RELEASED = "images, leases, VM group and quotas released"
_FORGOTTEN = "images (state not checked), leases"


def _and(case: Instead, columns: Mapping[str, str], rewordings: Mapping[str, str]) -> Instead:
    return Instead({**case.columns, **columns}, {**case.but, **rewordings}, case.variants)


def _deleted(names: str, *cases: Instead, why: tuple[str, ...] = (ZOMBIES,)) -> Table:
    return entries(keys("--delete", names), why, *(_and(case, {}, {_AT_ONCE: _WAITS}) for case in cases))


def _terminated(names: str, *cases: Instead, why: tuple[str, ...] = (ZOMBIES,)) -> Table:
    waiting = (_and(case, {}, {"Then DONE at once": _WAITS}) for case in cases)
    return entries(keys("terminate or terminate-hard", names), why, *waiting)


def _recreated(names: str, *cases: Instead, why: tuple[str, ...] = (ZOMBIES,)) -> Table:
    return entries(keys("--recreate", names), why, *cases)


_AS_WRITTEN = Instead()
_BOOT_FAILED = (
    Instead(but=_STAMPED, variants=("domain left",)),
    Instead(_FILES_ONLY, _STAMPED, ("no domain",)),
)
_EPILOG = (
    Instead(but=_NOT_MOVED, variants=("on its host",)),
    Instead(_ON_FRONTEND, _NOT_MOVED, ("on the front-end",)),
)
_OFF_NIC = Instead(_FILES_ONLY, _STAMPED)
_TREE_OF_A_RUNNING_VM = Instead(_DOMAIN_TOO, {"snapshot mark cleared": "RETIME=now; snapshot mark cleared"})
_NOT_YET_PLACED = Instead({**_FILES_ONLY, "driver_host": "current"}, {"RESCHED=0": "RETIME=now; RESCHED=0"})
_NEVER_REACHED = (ZOMBIES, WHOLE)

FROM_A_HOST: Table = {
    **_deleted(f"{_PLAIN} {_PROLOGS} {_FAILED_PROLOGS}", _AS_WRITTEN),
    **_terminated(_FAILED_PROLOGS, _AS_WRITTEN),
    **_deleted(_EPILOGS, Instead(but=_NOT_MOVED), why=(ZOMBIES, WHOLE)),
    **_terminated(_FAILED_EPILOGS, Instead(but=_NOT_MOVED), why=(ZOMBIES, WHOLE)),
    **_recreated(_EPILOGS, Instead(but=_NOT_MOVED), why=(WHOLE,)),
    **_deleted(FAILED_BOOTS, *_BOOT_FAILED, why=(ZOMBIES, WHOLE)),
    **_terminated(FAILED_BOOTS, *_BOOT_FAILED, why=(ZOMBIES, WHOLE)),
    **_recreated(FAILED_BOOTS, *_BOOT_FAILED, why=(WHOLE,)),
    **_deleted("EPILOG EPILOG_FAILURE", *_EPILOG, why=(ZOMBIES, WHOLE)),
    **_terminated("EPILOG_FAILURE", *_EPILOG, why=(ZOMBIES, WHOLE)),
    **_recreated("EPILOG EPILOG_FAILURE", *_EPILOG, why=(ZOMBIES, WHOLE)),
    **_deleted("HOTPLUG_SAVEAS_POWEROFF HOTPLUG_SAVEAS_SUSPENDED", Instead(but=_STAMPED), why=(ZOMBIES, WHOLE)),
    **_recreated("HOTPLUG_SAVEAS_POWEROFF HOTPLUG_SAVEAS_SUSPENDED", Instead(but=_STAMPED), why=(WHOLE,)),
    **_deleted("HOTPLUG_NIC_POWEROFF", _OFF_NIC, why=(ZOMBIES, WHOLE)),
    **_recreated("HOTPLUG_NIC_POWEROFF", _OFF_NIC, why=(WHOLE,)),
    **_deleted("DISK_SNAPSHOT_DELETE", _TREE_OF_A_RUNNING_VM),
    **_recreated("DISK_SNAPSHOT_DELETE", _TREE_OF_A_RUNNING_VM),
    **_deleted("ACTIVE", _NOT_YET_PLACED, why=_NEVER_REACHED),
    **_recreated("ACTIVE", _and(_NOT_YET_PLACED, _ENDS_PENDING, {}), why=_NEVER_REACHED),
    **entries(
        keys("--delete", "POWEROFF SUSPENDED"),
        (ZOMBIES,),
        Instead(_CLEANS_UP, {"Does not wait for TM": _WAITS}),
        Instead({**_CLEANS_UP, "driver_action": "VMM:cleanup"}, {"Does not wait for TM": _WAITS}, ("domain left",)),
    ),
    **_recreated(
        "POWEROFF SUSPENDED",
        Instead({"driver_action": "TM:epilog_delete"}, {"ACTION=14": "ACTION=14"}),
        Instead(variants=("domain left",)),
        why=(WHOLE,),
    ),
    **entries(
        ("--delete in CLEANUP_RESUBMIT",),
        (ZOMBIES,),
        *(
            Instead(
                {"driver_action": action, "driver_host": "current"}, {_RELEASED: f"ACTION=13; {_RELEASED}"}, (variant,)
            )
            for variant, action in (("domain left", "VMM:cleanup"), ("no domain", "TM:epilog_delete"))
        ),
    ),
}

FROM_THE_FRONTEND: Table = {
    **_deleted("HOTPLUG_SAVEAS_UNDEPLOYED HOTPLUG_SAVEAS_STOPPED DISK_RESIZE_UNDEPLOYED", Instead(_ON_FRONTEND)),
    **_recreated("HOTPLUG_SAVEAS_UNDEPLOYED HOTPLUG_SAVEAS_STOPPED", Instead({**_ON_FRONTEND, **_ENDS_PENDING})),
    **_recreated("DISK_RESIZE_UNDEPLOYED", Instead(_ON_FRONTEND)),
    **entries(
        keys("--delete", "STOPPED UNDEPLOYED"),
        (ZOMBIES,),
        Instead({**_CLEANS_UP, "driver_host": "frontend"}, {"Does not wait for TM": _WAITS}),
    ),
    **_recreated(
        "STOPPED UNDEPLOYED",
        Instead(
            {**_CLEANS_UP_FIRST, **_PARKED_FILES},
            {"; scheduler woken": "; DEPLOY_ID cleared on PENDING", "DEPLOY_ID is not cleared": "DEPLOY_ID is cleared"},
        ),
    ),
    **entries(
        keys("--delete", "PENDING HOLD"),
        (ZOMBIES,),
        Instead(variants=UNPARKED),
        Instead({**_CLEANS_UP, **_PARKED_FILES}, variants=PARKED),
    ),
    **_recreated(
        "HOLD",
        Instead(variants=UNPARKED),
        Instead({**_CLEANS_UP_FIRST, **_PARKED_FILES}, {"; scheduler woken": "; DEPLOY_ID cleared on PENDING"}, PARKED),
    ),
}

FROM_THE_RECORDS: Table = {
    **entries(
        keys("--delete-db", "MIGRATE SAVE_MIGRATE"),
        (LEAK,),
        Instead(but={_FORGOTTEN: f"previous record closed; source capacity released; {_FORGOTTEN}"}),
    ),
    **entries(
        keys("--delete-db", "POWEROFF SUSPENDED"),
        (WHOLE,),
        Instead(but={_FORGOTTEN: f"RETIME and ETIME=now if open; {_FORGOTTEN}"}),
    ),
}
