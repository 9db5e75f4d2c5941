"""Where events differ; and circumstances that OpenNebula does not tell apart, in which Holdfast does something else."""

from __future__ import annotations

from collections.abc import Iterable

from tests.unit.lifecycle.reference.deviation_names import (
    ABANDONED,
    DEAD_HOST,
    OLD_HOST,
    PROOF,
    RACES,
    ROLLBACK,
    WHOLE,
    ZOMBIES,
)
from tests.unit.lifecycle.reference.expectation import Deviation, Instead, Table, entries, keys
from tests.unit.lifecycle.reference.recovery_deviations import BOOTS, IS_LOST, LOST, STILL_THERE, UNPROVEN
from tests.unit.lifecycle.reference.removal_deviations import FAILED_BOOTS, PARKED, UNPARKED

_SEEN_RUNNING = f"POWEROFF SUSPENDED UNKNOWN {BOOTS} {FAILED_BOOTS}"
_ENDED_BEFORE = (
    Instead(variants=("on its host",)),
    Instead(but={"EETIME, ETIME=now": "EETIME=now, ETIME=now if 0"}, variants=("on the front-end",)),
)


def _seen_after_a_restore(step: str) -> Table:
    """A restore of unknown outcome may have left a domain that is held: its driver sees to it that it runs."""
    restored = {
        "to_lcm_state": step,
        "driver_action": "VMM:restore",
        "driver_host": "current",
        "history_effect": "",
        "resched_effect": "unchanged",
    }
    return entries(
        keys("vm_state RUNNING", f"{step}_FAILURE"),
        (RACES, WHOLE),
        Instead({"resched_effect": "clear"}, variants=("no domain",)),
        Instead(restored, variants=("domain left",)),
    )


ROWS: Table = {
    **entries(keys("vm_state RUNNING", _SEEN_RUNNING), (RACES,), Instead({"resched_effect": "clear"})),
    **_seen_after_a_restore("BOOT_MIGRATE"),
    **_seen_after_a_restore("BOOT_STOPPED"),
    **entries(
        keys("vm_state SUSPENDED", "RUNNING UNKNOWN"),
        (WHOLE,),
        Instead(but={"one stored step through SAVE_SUSPEND": "In one step"}),
    ),
    **entries(
        keys("vm_state POWEROFF", "RUNNING UNKNOWN"),
        (WHOLE,),
        Instead(but={"one stored step through SHUTDOWN_POWEROFF": "In one step"}),
    ),
    **entries(
        keys("deploy [last record ACTION not in {5,6,9}]", "PENDING HOLD"),
        (WHOLE,),
        Instead(but={"STATE becomes ACTIVE/LCM_INIT first": "Straight to PROLOG"}),
    ),
    **entries(
        keys("terminate or terminate-hard", "PENDING HOLD"),
        (ZOMBIES,),
        Instead(variants=UNPARKED),
        Instead(
            {
                "to_state": "ACTIVE",
                "to_lcm_state": "EPILOG",
                "driver_action": "TM:epilog(local)",
                "driver_host": "frontend",
                "history_effect": "ACTION=27, ESTIME=now",
            },
            variants=PARKED,
        ),
    ),
    **entries(
        ("migrate(any type or live) in UNKNOWN",),
        (PROOF,),
        Instead(refused="without proof that it has ended there"),
        Instead(variants=("no domain",)),
    ),
    **{
        f"deploy_success in {name}": Deviation(
            (ABANDONED,), (Instead({"to_lcm_state": name, "history_effect": "none", "notes": "no effect"}),)
        )
        for name in FAILED_BOOTS.split()
    },
    **entries(
        ("recover: prolog_failure in PROLOG_MIGRATE_FAILURE",),
        (ROLLBACK,),
        Instead(variants=("save",)),
        Instead({"to_lcm_state": "BOOT", "driver_action": "VMM:deploy"}, variants=("poweroff", "poweroff-hard")),
    ),
    **entries(
        ("recover: prolog_failure in PROLOG_MIGRATE_UNKNOWN_FAILURE",),
        (OLD_HOST,),
        Instead(
            {"to_lcm_state": "UNKNOWN", "driver_action": "none", "driver_host": ""},
            {"; PETIME, RSTIME=now": "; PETIME=now"},
        ),
    ),
    **entries(
        ("cleanup answer (VMM), success or failure in CLEANUP_RESUBMIT",),
        (ZOMBIES,),
        Instead(
            {
                "to_state": "ACTIVE",
                "to_lcm_state": "CLEANUP_RESUBMIT",
                "driver_action": "TM:epilog_delete",
                "driver_host": "current",
                "notes": "no effect",
            }
        ),
    ),
    **entries(("epilog_success in EPILOG", "recover: epilog_success in EPILOG_FAILURE"), (WHOLE,), *_ENDED_BEFORE),
}

_OFF = {"to_state": "POWEROFF", "to_lcm_state": "LCM_INIT", "driver_action": "none", "driver_host": ""}
_PARKS = {"to_lcm_state": "EPILOG_UNDEPLOY", "driver_action": "TM:epilog_stop", "driver_host": "current->frontend"}
_ENDS = {"to_lcm_state": "EPILOG", "driver_action": "TM:epilog"}
_REACHES = "poweroff poweroff-hard undeploy undeploy-hard terminate terminate-hard".split()
_ENDS_HERE = "stop undeploy undeploy-hard terminate terminate-hard".split()
_LIVE = (
    "suspend disk-attach disk-detach snapshot-create/revert/delete disk-snapshot-create disk-snapshot-delete "
    "disk-resize nic-attach/nic-detach resize backup".split()
)


def _without_its_host(event: str) -> Table:
    """Refused until the host is proven dead; then the rest is done without it.

    A VM that is off keeps its RESCHED, so that it leaves the dead host.
    """
    done, stamps = {"p": (_OFF, "RETIME=now"), "u": (_PARKS, "ESTIME, RETIME=now"), "t": (_ENDS, "ESTIME, RETIME=now")}[
        event[0]
    ]
    moves_on = {"resched_effect": "unchanged"} if event[0] == "p" else {}
    return entries(
        (f"{event} in UNKNOWN",),
        (DEAD_HOST, WHOLE),
        Instead(circumstances=LOST, refused=IS_LOST),
        Instead({**done, **moves_on}, {"ACTION": f"{stamps}; ACTION"}, ("no domain",), LOST),
    )


def keys_of(events: Iterable[str], at: str) -> list[str]:
    """The keys of several events in one position."""
    return [f"{event} in {at}" for event in events]


def _destroyed_first(event: str, at: str, to: str, action: str) -> Table:
    """A VM that is off, but of which a domain may be left, here or elsewhere."""
    destroyed = {
        "to_lcm_state": to,
        "driver_action": "VMM:cancel",
        "driver_host": "current",
        "history_effect": action,
        "resched_effect": "clear",
    }
    return entries((f"{event} in {at}",), (ZOMBIES, PROOF), Instead(destroyed, variants=("domain left",)), _NOT_ON_TWO)


_NOT_ON_TWO = Instead(variants=("domain elsewhere",), refused="its files stay where they are")
_NOT_UNDER_A_DOMAIN = Instead(variants=("domain left",), refused=STILL_THERE)
_NOT_UNDER_ANOTHERS = Instead(variants=("domain elsewhere",), refused=STILL_THERE)
_COLD = (
    "disk-attach disk-detach disk-snapshot-create disk-snapshot-revert disk-snapshot-delete disk-resize restore backup"
)
_BACK_AT_SOURCE = {
    "driver_host": "source host (new current record)",
    "history_effect": (
        "current ETIME=now; previous ETIME, RETIME=now; new record cloned from previous, STIME, RSTIME=now"
    ),
    "capacity_effect": "release current (destination)",
}

UNDER_A_DOMAIN: Table = {
    **entries(keys_of(_ENDS_HERE, "RUNNING"), (PROOF,), Instead(circumstances=LOST, refused=IS_LOST), _NOT_ON_TWO),
    **entries(keys_of(_COLD.split(), "POWEROFF"), (PROOF,), _NOT_UNDER_A_DOMAIN),
    **entries(
        keys_of("stop disk-snapshot-create disk-snapshot-delete".split(), "SUSPENDED"), (PROOF,), _NOT_UNDER_A_DOMAIN
    ),
    **entries(
        (*keys("terminate or terminate-hard", "STOPPED UNDEPLOYED"), "disk-resize in UNDEPLOYED"),
        (PROOF,),
        _NOT_UNDER_ANOTHERS,
    ),
    **entries(
        ("terminate-hard in SHUTDOWN", "undeploy-hard in SHUTDOWN_UNDEPLOY"),
        (PROOF, DEAD_HOST),
        Instead(circumstances=LOST, refused=IS_LOST),
        Instead(variants=("soft, domain elsewhere",), refused="its files stay where they are"),
    ),
    **entries(
        ("save_success in SAVE_MIGRATE",),
        (WHOLE,),
        Instead(
            {**_BACK_AT_SOURCE, "to_lcm_state": "BOOT_MIGRATE", "driver_action": "VMM:restore"}, circumstances=LOST
        ),
    ),
    **entries(
        ("shutdown_success in SAVE_MIGRATE",),
        (WHOLE,),
        Instead({**_BACK_AT_SOURCE, "to_lcm_state": "BOOT", "driver_action": "VMM:deploy"}, circumstances=LOST),
    ),
}
"""No file is moved or changed under a domain that may run; a move whose destination is lost ends where it began."""

BESIDES: Table = {
    **UNDER_A_DOMAIN,
    **{key: entry for event in _REACHES for key, entry in _without_its_host(event).items()},
    **entries(
        keys_of(["poweroff", "poweroff-hard", "updateconf(live) / exec", *_LIVE], "RUNNING"),
        (DEAD_HOST,),
        Instead(circumstances=LOST, refused=IS_LOST),
    ),
    **entries(
        ("resume in UNKNOWN", "resume in POWEROFF", "resume in SUSPENDED"),
        (PROOF,),
        Instead(circumstances=LOST, refused=IS_LOST),
        Instead(variants=("domain elsewhere",), refused=UNPROVEN),
        Instead(variants=("no domain",)),
    ),
    **entries(
        ("migrate(any type or live) in POWEROFF", "migrate(any type or live) in SUSPENDED"),
        (PROOF,),
        Instead(variants=("domain left",), refused=UNPROVEN),
    ),
    **entries(
        (f"migrate({way}) in RUNNING" for way in ("type 0", "type 1, poweroff", "type 2, poweroff-hard", "live")),
        (PROOF,),
        Instead(variants=("domain elsewhere",), refused=UNPROVEN),
        Instead(circumstances=LOST, refused=IS_LOST),
    ),
    **entries(
        (
            "deploy [last record ACTION = 9 (stop)] in STOPPED",
            "deploy [last record ACTION in {5,6} (undeploy)] in UNDEPLOYED",
        ),
        (PROOF,),
        Instead(variants=("domain elsewhere",), refused=UNPROVEN),
    ),
    **entries(
        ("deploy_failure in MIGRATE",),
        (WHOLE,),
        Instead(
            {
                "to_lcm_state": "MIGRATE",
                "driver_action": "VMM:migrate",
                "driver_host": "previous->current",
                "history_effect": "",
                "capacity_effect": "",
            },
            circumstances={"certain": False},
        ),
    ),
    **entries(
        keys("terminate or terminate-hard", "PENDING HOLD"),
        (ZOMBIES,),
        Instead(
            {
                "to_state": "ACTIVE",
                "to_lcm_state": "CLEANUP_DELETE",
                "driver_action": "VMM:cleanup",
                "driver_host": "current",
                "resched_effect": "clear",
            },
            variants=("recreated, domain elsewhere",),
        ),
    ),
    **entries(
        keys("deploy [last record ACTION not in {5,6,9}]", "PENDING HOLD"),
        (PROOF,),
        Instead(variants=("recreated, domain elsewhere",), refused=UNPROVEN),
    ),
    **_destroyed_first("terminate or terminate-hard", "POWEROFF", "SHUTDOWN", "ACTION=27"),
    **_destroyed_first("terminate or terminate-hard", "SUSPENDED", "SHUTDOWN", "ACTION=27"),
    **_destroyed_first("undeploy or undeploy-hard", "POWEROFF", "SHUTDOWN_UNDEPLOY", "ACTION=5"),
}  # fmt: skip
"""Where a host is lost, a driver is not sure, or a domain may be where it should not be."""
