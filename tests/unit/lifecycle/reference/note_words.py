"""What the notes of the tables say: sentences that can be checked, and those that only comment on a row.

A sentence that is in neither table fails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from holdfast.lifecycle import VmEvent
from holdfast.lifecycle.events import ANSWERS
from holdfast.lifecycle.positions import PROLOG
from holdfast.lifecycle.table import ALL_ROWS
from holdfast.model.vm import NO_OPERATION
from holdfast.model.vm_states import LcmState, VmState
from tests.unit.lifecycle.reference.record_words import PHRASES, Check
from tests.unit.lifecycle.reference.rows import name_of
from tests.unit.lifecycle.reference.step import Step, facts_for, follow, take
from tests.unit.lifecycle.reference.subjects import BASE, KEPT_TREE, TREE


def _true(condition: Callable[[Step], bool], said: str) -> Check:
    return lambda step: "" if condition(step) else said


_NOT_CANCELLED = _true(
    lambda step: not (step.decision and step.decision.cancels), "the operation under way is cancelled"
)
_CANCELLED = _true(
    lambda step: step.before.effect_id < 0 or bool(step.decision and step.decision.cancels), "it is not cancelled"
)
_DONE_AT_ONCE = _true(lambda step: step.after.state is VmState.DONE, "it waits for the clean-up")
_DONE_AT_LAST = _true(
    lambda step: step.after.state is not VmState.DONE and follow(step, ok=True).state is VmState.DONE,
    "DONE does not wait for the clean-up",
)


def _then(*names: str) -> Check:
    """After the driver's first answer the VM is in one of these positions."""

    def check(step: Step) -> str:
        effect = step.decision.effect if step.decision else None
        if effect is None:
            return "no driver is asked"
        event = ANSWERS[effect.kind][0]
        found = name_of(take(step.after, event).after.position)
        return "" if found in names else f"it goes on to {found}"

    return check


def _without_deploy_id(stored: str) -> Check:
    """What is stored when nobody has told what the hypervisor calls the domain."""

    def check(step: Step) -> str:
        nameless = replace(step.before, deploy_id="")
        found = take(nameless, step.event, step.facts).after.deploy_id
        return "" if found == stored else f"DEPLOY_ID is {found!r} where it was empty"

    return check


def _stores_deploy_id(step: Step) -> str:
    told = replace(facts_for(step.before, step.event), deploy_id="uuid")
    found = take(step.before, step.event, told).after.deploy_id
    return "" if found == "uuid" else f"DEPLOY_ID is {found!r} instead of what the driver answers"


def _without_marks(stays: bool) -> Check:
    """What happens when the record shows no operation under way."""

    def check(step: Step) -> str:
        bare = replace(step.before, template=BASE, snapshots=(TREE, KEPT_TREE), operation=NO_OPERATION)
        after = take(bare, step.event, step.facts).after
        if (after.position == bare.position) is stays:
            return ""
        return f"without a mark it {'goes to' if stays else 'stays in'} {name_of(after.position)}"

    return check


def _like_its_opposite(step: Step) -> str:
    both = (VmEvent.RECOVER_SUCCESS, VmEvent.RECOVER_FAILURE)
    first, second = (take(step.before, event).after for event in both)
    return "" if first == second else f"--success leads to {first.state_name}, --failure to {second.state_name}"


def _through(lcm_state: LcmState) -> Check:
    return _true(lambda step: step.after.prev_lcm_state is lcm_state, f"it does not pass through {lcm_state.name}")


def _passes_lcm_init(step: Step) -> str:
    there = (VmState.ACTIVE, LcmState.LCM_INIT)
    return "" if any(row.to == there for row in ALL_ROWS) else "nothing leads to ACTIVE/LCM_INIT"


def _redeploys_from_its_images(step: Step) -> str:
    at_rest = follow(step, ok=True)
    after = take(at_rest, VmEvent.DEPLOY).after
    return "" if after.position == PROLOG else f"its next deployment goes to {name_of(after.position)}"


def _straight_to_prolog(step: Step) -> str:
    return "" if _passes_lcm_init(step) else "it passes through ACTIVE/LCM_INIT"


def _is_unawaited(step: Step) -> bool:
    effect = step.decision.effect if step.decision else None
    return effect is not None and not effect.awaited


_SHUT, _SAVED = LcmState.SHUTDOWN_POWEROFF, LcmState.SAVE_SUSPEND

CHECKS: dict[str, Check] = {
    "STATE becomes ACTIVE/LCM_INIT first": _passes_lcm_init,
    "Then DONE at once": _DONE_AT_ONCE,
    "Passes through CLEANUP_DELETE; DONE does not wait for the driver and its result is ignored": _DONE_AT_ONCE,
    "Does not wait for TM": _DONE_AT_ONCE,
    "Starts a second transfer; the first one is not cancelled": _NOT_CANCELLED,
    "Starts a second transfer": _NOT_CANCELLED,
    "The running transfer is not cancelled": _NOT_CANCELLED,
    "Then BOOT": _then("BOOT"),
    "Then BOOT_STOPPED": _then("BOOT_STOPPED"),
    "Then BOOT_UNDEPLOY": _then("BOOT_UNDEPLOY"),
    "Then BOOT_MIGRATE (or BOOT for ACTION 48/49)": _then("BOOT_MIGRATE", "BOOT"),
    "After the TM step: BOOT_MIGRATE (or BOOT for ACTION 48/49)": _then("BOOT_MIGRATE", "BOOT"),
    "DEPLOY answer also stores DEPLOY_ID; an empty DEPLOY_ID turns it into deploy_failure": _stores_deploy_id,
    "If DEPLOY_ID is empty the code sets one-<vmid> in memory but never stores it; a later RUNNING report from "
    "monitoring fills it in": _without_deploy_id(""),
    "DEPLOY_ID not stored if it was empty": _without_deploy_id(""),
    "DEPLOY_ID is not cleared": _true(lambda step: bool(follow(step, ok=True).deploy_id), "DEPLOY_ID is cleared"),
    "If no SNAPSHOT is marked ACTIVE nothing happens and the VM stays": _without_marks(stays=True),
    "If no disk carries an active snapshot mark it only logs an error and the VM stays stuck": _without_marks(
        stays=True
    ),
    "If no disk is marked as resizing it only logs an error and the VM stays stuck (--success still works for the "
    "POWEROFF and UNDEPLOYED variants)": _without_marks(stays=True),
    "For DISK_RESIZE with no disk marked as resizing the new state is not stored": _without_marks(stays=True),
    "Both ops do the same thing": _like_its_opposite,
    "Both --success and --failure do the same thing": _like_its_opposite,
    "--success and --failure do the same thing": _like_its_opposite,
    "one stored step through SAVE_SUSPEND": _through(_SAVED),
    "one stored step through SHUTDOWN_POWEROFF": _through(_SHUT),
    "fire and forget": _true(_is_unawaited, "somebody waits for its answer"),
    "fire and forget; failure only logged and put in USER_TEMPLATE/ERROR": _true(
        _is_unawaited, "somebody waits for its answer"
    ),
    "The next deploy runs a plain PROLOG because the last ACTION is no longer 5, 6 or 9": _redeploys_from_its_images,
    "scheduler woken": PHRASES["scheduler woken"],
    "DEPLOY_ID cleared; scheduler woken": lambda step: (
        PHRASES["scheduler woken"](step) or PHRASES["DEPLOY_ID cleared"](step)
    ),
    "VNC port kept": PHRASES["VNC port kept"],
    "previous VNC port released": PHRASES["VNC port released"],
    "VNC port and cluster quota rolled back": PHRASES["VNC port and cluster quota rolled back"],
    "VNC port and cluster quota are not rolled back here": PHRASES["VNC port and cluster quota rolled back"],
    "running quota added": PHRASES["running quota added back"],
    "The running quota added by resume is not given back on this path (seen by reading, not run)": PHRASES[
        "running quota added back"
    ],
    # Holdfast's own, in the deviations
    "The first one is cancelled": _CANCELLED,
    "DONE waits for the clean-up": _DONE_AT_LAST,
    "If DEPLOY_ID is empty one-<vmid> is stored": _without_deploy_id("one-42"),
    "DEPLOY_ID is cleared": _true(lambda step: not follow(step, ok=True).deploy_id, "DEPLOY_ID is kept"),
    "Without a mark it goes on all the same": _without_marks(stays=False),
    "In one step": _true(
        lambda step: (step.after.prev_state, step.after.prev_lcm_state) == step.before.position, "in more than one step"
    ),
    "Straight to PROLOG": _straight_to_prolog,
}


THEN_SUCCEEDS = (
    "then prolog_success is raised at once on the source record",
    "Goes through PROLOG_MIGRATE for an instant, then BOOT_MIGRATE",
    "Passes through PROLOG_MIGRATE_POWEROFF for an instant",
    "Passes through PROLOG_MIGRATE_SUSPEND for an instant",
    "Passes through PROLOG_MIGRATE_UNKNOWN then BOOT: it deploys the VM again on the OLD host, it does not return to "
    "UNKNOWN",
)
"""The position that the row names is never seen: the prolog counts as done at once."""
BY_POWEROFF = (
    "If the current history record ACTION is 48 or 49 (poweroff style): next state is BOOT with VMM:deploy and a "
    "driver failure gives BOOT_FAILURE"
)
"""A row that means something else for two of its variants."""

COMMENTS = {
    *THEN_SUCCEEDS,
    BY_POWEROFF,
    # said by other columns
    "capacity stays on the current host",
    "no effect",
    "returns success",
    "Call succeeds, nothing happens",
    "Call succeeds; only an error line in the VM log",
    "STATE=ACTIVE with LCM_INIT: returns without doing anything",
    "Already failed: stays, no error",
    "There is no path back to STOPPED or UNDEPLOYED",
    "Stays; no rollback to the source host or to STOPPED/UNDEPLOYED",
    "First --failure only marks the failure; the second one (from the _FAILURE state) rolls back",
    "VM believed on the source",
    "VM believed on the destination",
    "VM believed running on the source",
    "Success: destination; failure: source",
    "Success: PROLOG_MIGRATE and on to the destination; failure: RUNNING on the source",
    "A poweroff-style migration goes through trigger_save_failure here, same result",
    "Only the current (destination) host capacity is released; the source host keeps the VM in its VMS list until "
    "onedb fsck",
    "RUNNING even when started from UNKNOWN",
    "RUNNING even if the operation was started from UNKNOWN",
    "RESCHED not cleared",
    "a pending RESCHED=1 survives, so the scheduler will still migrate the VM",
    "Files are NOT moved back",
    "Files are NOT moved back; the VM is back on the source record",
    "Always save, also for poweroff-style migrations",
    "Always restores from checkpoint, even for poweroff-style migrations, because the cloned record has ACTION 0; "
    "those have no checkpoint and end in BOOT_MIGRATE_FAILURE",
    "Only a soft terminate is retried softly: retry of a soft poweroff or undeploy becomes a hard destroy",
    "Upstream bug: restore is used although an undeployed VM has no checkpoint; deploy would be right (as it is from "
    "BOOT_UNDEPLOY_FAILURE)",
    "Always treated as an attach",
    "Always treated as an attach: failing a pending DETACH drops the disk from the VM although it is still plugged",
    "Always treated as an attach, also when the pending operation was a detach, a live updateconf or an exec",
    "Always uses the host, never the front-end",
    "Always uses the host, never the front-end: wrong place when the VM was terminated from STOPPED or UNDEPLOYED on "
    "non-shared storage",
    "Deletes on the host side only; files already moved to (or parked on) the front-end are not removed on non-shared "
    "storage",
    "Files parked on the front-end are left behind on non-shared storage (the front-end variant exists in "
    "include/TransferManager.h but has no caller)",
    "No TM clean-up: parked files stay",
    "No CLEANUP_DELETE step and no hypervisor command",
    "No hypervisor or storage action at all: domain and files stay behind",
    "No driver action is started, so no reply ever arrives and the VM stays in CLEANUP_RESUBMIT until another recover "
    "(success, failure or recreate) pushes it to PENDING",
    "The domain is running in this state but only a TM delete is sent: the domain is not destroyed (zombie on the "
    "host)",
    "The first clean-up reply, success or failure, moves it to PENDING",
    "The TM step is not run again",
    "Retries on the same host only",
    "This is the manual way out of a stuck recreate",
    "ignored: transient states keep waiting for their driver",
    "dropped because LCM_STATE is LCM_INIT",
    "Overrides a shutdown that hangs",
    "poweroff style migration",
    "recover --success",
    # the outside world, older versions, the inside of the daemon
    "If the host vanished meanwhile: PROLOG_FAILURE",
    "live flag silently ignored",
    "Persistent images are not saved back",
    "A TM error raised before the driver is called is reported as prolog_failure, which does not know this state: VM "
    "stuck",
    "Same early-error hole with epilog_failure",
    "Event of VMM DEPLOY, RESTORE and MIGRATE answers",
    "Event of VMM SHUTDOWN and CANCEL answers",
    "the late driver answer is then a logged wrong-state",
    "not attributed to an error: an AUTOSTART hook or the HA logic has to notice ACTION 44",
    "not used by the KVM/LXC probes, which send POWEROFF",
    "Works as a release, but without recomputing the automatic requirements",
    "The transfer may still be running: a late TM reply is logged as a wrong-state answer and ignored",
    "No check that the domain exists; monitoring may move it to POWEROFF later",
    "Assumes the domain is up on the current-record host",
    "Believed blindly: nothing checks that the files reached the destination",
    "The MV script deletes the target directory before copying in the ssh-type drivers",
    "Whole prolog script is rebuilt and run from its first line",
    "Those values are only filled by a driver reply, so a forced success can register an image with an empty source",
    "Accepted since mid-2024 (6.10.0); older versions refused it",
}
"""Sentences that another column says as well, or that speak of what a lifecycle does not decide."""

ERROR = "error 2048: "


def said_of(sentences: list[str], step: Step) -> list[str]:
    """How the step differs from what the sentences of a note say."""
    said = []
    for sentence in sentences:
        if sentence.startswith(ERROR) or sentence in COMMENTS:
            continue
        difference = CHECKS[sentence](step)
        if difference:
            said.append(f"{sentence}: {difference}")
    return said
