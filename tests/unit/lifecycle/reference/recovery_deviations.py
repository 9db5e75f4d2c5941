"""Where ``recover --failure``, ``--success`` and ``--retry`` differ."""

from __future__ import annotations

from tests.unit.lifecycle.reference.deviation_names import (
    ABANDONED,
    DETACH,
    NO_DEPLOY_ID,
    OLD_HOST,
    PROOF,
    ROLLBACK,
    UNKNOWN_FAILURE,
    WHOLE,
    WRONG_STEP,
    ZOMBIES,
)
from tests.unit.lifecycle.reference.expectation import Instead, Table, entries, keys
from tests.unit.lifecycle.reference.removal_deviations import FAILED_BOOTS, TRANSFERS

UNPROVEN = "without proof that the host is dead"
IS_LOST = "is lost"
LOST = {"host_lost": True}
STILL_THERE = "A domain of VM 42 may still run on host"
BOOTS = "BOOT BOOT_UNKNOWN BOOT_POWEROFF BOOT_SUSPENDED BOOT_STOPPED BOOT_UNDEPLOY BOOT_MIGRATE"
_SNAPSHOTS = (
    "DISK_SNAPSHOT DISK_SNAPSHOT_DELETE DISK_SNAPSHOT_POWEROFF DISK_SNAPSHOT_REVERT_POWEROFF "
    "DISK_SNAPSHOT_DELETE_POWEROFF DISK_SNAPSHOT_SUSPENDED DISK_SNAPSHOT_DELETE_SUSPENDED"
)
_NOT_CANCELLED = "Starts a second transfer; the first one is not cancelled"
_CANCELLED = "The first one is cancelled"
_NAMED = "If DEPLOY_ID is empty one-<vmid> is stored"
_GOES_ON = "Without a mark it goes on all the same"
_ON_FRONTEND = {"driver_action": "TM:epilog(local)", "driver_host": "frontend"}
_ATTACHES = ("disk-attach", "updateconf")
_KEPT, _REMOVED = "pending disk flag cleared, disk kept", "pending disk removed from the VM (if any)"
_NIC_KEPT, _NIC_REMOVED = "pending NIC kept", "pending NIC removed, lease released"

STEPS: Table = {
    **entries(keys("--retry", TRANSFERS), (ABANDONED,), Instead(but={_NOT_CANCELLED: _CANCELLED})),
    **entries(
        keys("--failure", "PROLOG PROLOG_RESUME PROLOG_UNDEPLOY"),
        (ABANDONED,),
        Instead(but={"The running transfer is not cancelled": _CANCELLED}),
    ),
    **entries(
        ("--retry in EPILOG",),
        (ABANDONED, WRONG_STEP),
        Instead(but={"Starts a second transfer": _CANCELLED}, variants=("on its host",)),
        Instead(_ON_FRONTEND, {"Starts a second transfer": _CANCELLED}, ("on the front-end",)),
    ),
    **entries(
        ("--retry in EPILOG_FAILURE",),
        (WRONG_STEP,),
        Instead(variants=("on its host",)),
        Instead(_ON_FRONTEND, variants=("on the front-end",)),
    ),
    **entries(("--retry in BOOT_UNDEPLOY",), (WRONG_STEP,), Instead({"driver_action": "VMM:deploy"})),
    **entries(
        ("--retry in SAVE_MIGRATE",),
        (WRONG_STEP,),
        Instead({"driver_action": "VMM:save, VMM:shutdown or VMM:cancel, as it was begun"}),
    ),
    **entries(
        keys("--retry", "SHUTDOWN_POWEROFF SHUTDOWN_UNDEPLOY"),
        (WRONG_STEP,),
        Instead({"driver_action": "VMM:shutdown or VMM:cancel, as it was begun"}),
    ),
}

OUTCOMES: Table = {
    **entries(
        keys("--success", BOOTS),
        (NO_DEPLOY_ID,),
        Instead(
            but={
                "If DEPLOY_ID is empty the code sets one-<vmid> in memory but never stores it; a later RUNNING report "
                "from monitoring fills it in": _NAMED
            }
        ),
    ),
    **entries(
        keys("--success", FAILED_BOOTS), (NO_DEPLOY_ID,), Instead(but={"DEPLOY_ID not stored if it was empty": _NAMED})
    ),
    **entries(
        keys("--failure", FAILED_BOOTS),
        (WHOLE,),
        Instead(but={"RETIME=now (restarts the 30 s monitoring grace)": "none"}),
    ),
    **{
        key: entry
        for name, idle in (
            ("SAVE_STOP", ("no domain",)),
            ("SAVE_SUSPEND", ("no domain",)),
            ("SHUTDOWN", ("soft, no domain", "hard, no domain")),
            ("SHUTDOWN_UNDEPLOY", ("soft, no domain", "hard, no domain")),
            ("SAVE_MIGRATE", ("save, no domain", "poweroff, no domain", "poweroff-hard, no domain")),
        )
        for key, entry in entries(
            keys("--success", name), (WHOLE,), Instead(refused=STILL_THERE), Instead(variants=idle)
        ).items()
    },
    **entries(
        ("--failure in UNKNOWN",),
        (UNKNOWN_FAILURE,),
        Instead(
            {"next_lcm_state": "UNKNOWN", "final_lcm_state_if_driver_ok": "UNKNOWN"},
            {"Both --success and --failure do the same thing": "no effect"},
        ),
    ),
    **entries(
        ("--success in UNKNOWN",),
        (UNKNOWN_FAILURE,),
        Instead(but={"Both --success and --failure do the same thing": "no effect"}, variants=("", "no domain")),
    ),
    **entries(
        ("--failure in PROLOG_MIGRATE_FAILURE",),
        (ROLLBACK,),
        Instead(variants=("save",)),
        Instead(
            {
                "next_lcm_state": "BOOT",
                "driver_action": "VMM:deploy",
                "final_lcm_state_if_driver_fails": "BOOT_FAILURE",
            },
            variants=("poweroff", "poweroff-hard"),
        ),
    ),
    **entries(
        ("--failure in PROLOG_MIGRATE_UNKNOWN_FAILURE",),
        (OLD_HOST,),
        Instead(
            {
                "next_lcm_state": "UNKNOWN",
                "driver_action": "none",
                "final_lcm_state_if_driver_ok": "UNKNOWN",
                "final_lcm_state_if_driver_fails": "UNKNOWN",
            },
            {"PETIME=now, RSTIME=now": "PETIME=now; RESCHED=1"},
        ),
    ),
    **entries(
        keys("--success", "EPILOG EPILOG_FAILURE"),
        (WHOLE,),
        Instead(variants=("on its host",)),
        Instead(but={"EETIME and ETIME=now": "EETIME=now, ETIME=now if 0"}, variants=("on the front-end",)),
    ),
}

OPERATIONS: Table = {
    **entries(
        ("--failure in HOTPLUG",),
        (DETACH,),
        Instead(variants=_ATTACHES),
        Instead(but={_REMOVED: _KEPT}, variants=("disk-detach",)),
    ),
    **entries(
        ("--success in HOTPLUG",),
        (DETACH,),
        Instead(variants=_ATTACHES),
        Instead(but={_KEPT: _REMOVED}, variants=("disk-detach",)),
    ),
    **entries(
        keys("--failure", "HOTPLUG_NIC HOTPLUG_NIC_POWEROFF"),
        (DETACH,),
        Instead(variants=("nic-attach",)),
        Instead(but={_NIC_REMOVED: _NIC_KEPT}, variants=("nic-detach",)),
    ),
    **entries(
        keys("--success", "HOTPLUG_NIC HOTPLUG_NIC_POWEROFF"),
        (DETACH,),
        Instead(variants=("nic-attach",)),
        Instead(but={_NIC_KEPT: _NIC_REMOVED}, variants=("nic-detach",)),
    ),
    **entries(
        (*keys("--failure", _SNAPSHOTS), *keys("--success", _SNAPSHOTS)),
        (WHOLE,),
        Instead(
            but={"If no disk carries an active snapshot mark it only logs an error and the VM stays stuck": _GOES_ON}
        ),
    ),
    **entries(
        ("--failure in HOTPLUG_SNAPSHOT", "--success in HOTPLUG_SNAPSHOT"),
        (WHOLE,),
        Instead(but={"If no SNAPSHOT is marked ACTIVE nothing happens and the VM stays": _GOES_ON}),
    ),
    **entries(
        keys("--failure", "DISK_RESIZE DISK_RESIZE_POWEROFF DISK_RESIZE_UNDEPLOYED"),
        (WHOLE,),
        Instead(
            but={
                "If no disk is marked as resizing it only logs an error and the VM stays stuck (--success still works "
                "for the POWEROFF and UNDEPLOYED variants)": _GOES_ON
            }
        ),
    ),
    **entries(
        ("--success in DISK_RESIZE",),
        (WHOLE,),
        Instead(but={"For DISK_RESIZE with no disk marked as resizing the new state is not stored": _GOES_ON}),
    ),
}

_ELSEWHERE = Instead(variants=("domain elsewhere",), refused=UNPROVEN)
_LOST = Instead(circumstances=LOST, refused=IS_LOST)

BESIDES: Table = {
    **entries(keys("--retry", FAILED_BOOTS), (PROOF,), _ELSEWHERE, _LOST),
    **entries(keys("--success", FAILED_BOOTS), (PROOF,), _ELSEWHERE, _LOST),
    **entries(("--success in UNKNOWN",), (PROOF,), _ELSEWHERE, _LOST),
    **entries(
        keys("--delete", "PENDING HOLD"),
        (ZOMBIES,),
        Instead(
            {
                "next_state": "ACTIVE",
                "next_lcm_state": "CLEANUP_DELETE",
                "driver_action": "VMM:cleanup",
                "driver_host": "current",
            },
            variants=("recreated, domain elsewhere",),
        ),
    ),
}
"""Recoveries where a host is lost, or a domain may be where it should not be."""
