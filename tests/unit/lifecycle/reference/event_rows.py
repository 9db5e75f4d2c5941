"""How Holdfast differs from a row of the table of events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from holdfast.lifecycle import Decision, VmEvent
from holdfast.lifecycle.decide import is_available
from holdfast.lifecycle.events import ANSWERS
from holdfast.lifecycle.positions import RUNNING
from holdfast.model.vm import Vm
from tests.unit.lifecycle.reference import driver_words, history_words, note_words, record_words
from tests.unit.lifecycle.reference.phrases import phrases_of, sentences_of
from tests.unit.lifecycle.reference.rows import EVENTS, RECOVERY_BY_KEY, Row, name_of
from tests.unit.lifecycle.reference.step import Step, facts_for, rest_differences, take
from tests.unit.lifecycle.reference.subjects import subject, variants_of

E = VmEvent

BY_TEXT: dict[str, tuple[VmEvent, ...]] = {
    "migrate(type 0)": (E.MIGRATE_SAVE,),
    "migrate(type 1, poweroff)": (E.MIGRATE_POWEROFF,),
    "migrate(type 2, poweroff-hard)": (E.MIGRATE_POWEROFF_HARD,),
    "migrate(any type or live)": (E.MIGRATE,),
    "migrate(live)": (E.MIGRATE_LIVE,),
    "undeploy or undeploy-hard": (E.UNDEPLOY, E.UNDEPLOY_HARD),
    "terminate or terminate-hard": (E.TERMINATE, E.TERMINATE_HARD),
    "nic-attach/nic-detach": (E.NIC_ATTACH, E.NIC_DETACH),
    "snapshot-create/revert/delete": (E.SNAPSHOT_CREATE, E.SNAPSHOT_REVERT, E.SNAPSHOT_DELETE),
    "updateconf(live) / exec": (E.UPDATE_CONF,),  # no user can ask for exec
    "deploy_success": (E.BOOT_OK,),
    "deploy_failure": (E.BOOT_FAIL,),
    "save_success": (E.SAVE_OK,),
    "save_failure": (E.SAVE_FAIL,),
    "shutdown_success": (E.SHUTDOWN_OK,),
    "shutdown_failure": (E.SHUTDOWN_FAIL,),
    "prolog_success": (E.PROLOG_OK,),
    "prolog_failure": (E.PROLOG_FAIL,),
    "epilog_success": (E.EPILOG_OK,),
    "epilog_failure": (E.EPILOG_FAIL,),
    "epilog_success or epilog_failure (TM)": (E.DELETE_ENDED,),
    "cleanup answer (VMM), success or failure": (E.CLEANUP_ENDED,),
    "any TM or VMM answer (except BACKUP)": tuple(dict.fromkeys(event for pair in ANSWERS.values() for event in pair)),
    "vm_state RUNNING": (E.SEEN_RUNNING,),
    "vm_state FAILURE": (E.SEEN_FAILURE,),
    "vm_state SUSPENDED": (E.SEEN_SUSPENDED,),
    "vm_state POWEROFF": (E.SEEN_POWEROFF,),
    "sync missing, MISSING_STATE=POWEROFF": (E.SEEN_POWEROFF,),
    "sync missing, MISSING_STATE=UNKNOWN": (E.SEEN_FAILURE,),
    "host goes ERROR": (E.HOST_ERROR,),
}
"""Our events by the table's words, where they are not the same."""
BY_OPERATOR = {
    "prolog_success": E.RECOVER_SUCCESS,
    "prolog_failure": E.RECOVER_FAILURE,
    "epilog_success": E.RECOVER_SUCCESS,
    "epilog_failure": E.RECOVER_FAILURE,
}

_PLAIN = ("new", "recreated")
_BY_POWEROFF = ("poweroff", "poweroff-hard")
_MONITORED = "VM history HID = reporting host; now-RSTIME>=30 and now-RETIME>=30"
_MISSING = "VM in host VMS list, not in a SYNC_STATE report, history HID = reporting host; NO 30 s grace"

GUARDS: dict[str, tuple[str, ...] | None] = {
    "": None,
    "last record ACTION not in {5,6,9}": _PLAIN,
    "last record ACTION = 9 (stop)": ("stopped", ""),
    "last record ACTION in {5,6} (undeploy)": ("undeployed", "undeployed hard", ""),
    "current ACTION not in {48,49}": ("save",),
    "current ACTION in {48,49}": _BY_POWEROFF,
    "automatic requirements recomputed": None,
    "automatic requirements recomputed; failure keeps HOLD and returns an error": None,
    "driver has COLD_NIC_ATTACH; otherwise stays POWEROFF, no driver": None,
    "driver has LIVE_RESIZE; VM not pinned": None,
    "VM id in the host VMS list": None,
    _MONITORED: None,
    _MISSING: None,
}
"""Which variants of the position a guard leaves (all, if it does not tell them apart)."""
CIRCUMSTANCES: dict[str, Mapping[str, Any]] = {
    "driver has COLD_NIC_ATTACH; otherwise stays POWEROFF, no driver": {"cold_nic_attach": True},
}
_SEVERAL_STEPS = ("SAVE_MIGRATE", "CLEANUP_RESUBMIT")
_ANSWERED_IN = {
    "save_success": ("save",),
    "save_failure": ("save",),
    "shutdown_success": _BY_POWEROFF,
    "shutdown_failure": _BY_POWEROFF,
    "epilog_success or epilog_failure (TM)": ("no domain",),
}
"""Where several drivers may be at work: the variants in which this one is (files are removed after the domain)."""


def events_of(row: Row) -> tuple[VmEvent, ...]:
    """The events that the row is about."""
    if row["origin"] == "recover":
        return (BY_OPERATOR[row["event"]],)
    return BY_TEXT.get(row["event"]) or (VmEvent(row["event"]),)


def variants(row: Row) -> tuple[str, ...]:
    """The variants of the position that the row is about."""
    chosen = GUARDS[row["guard"]]
    chosen = _ANSWERED_IN.get(row["event"], chosen) if name_of(row.at) in _SEVERAL_STEPS else chosen
    return tuple(variant for variant in variants_of(row.at) if chosen is None or variant in chosen)


def meaning_of(row: Row) -> Row:
    """The row with what it says by pointing at others written out."""
    if row["driver_action"] == "as recover --delete":
        return _as_deletion(row)
    if row["event"].startswith("sync missing") and not row["history_effect"]:
        return row.but({"history_effect": _twin(row)["history_effect"]})
    if any(sentence in note_words.THEN_SUCCEEDS for sentence in sentences_of(row["notes"])):
        return _then_succeeds(row)
    return row


def _as_deletion(row: Row) -> Row:
    deletion = RECOVERY_BY_KEY[f"--delete in {name_of(row.at)}"]
    records = [phrase for phrase in phrases_of(deletion["side_effects"]) if phrase in history_words.PHRASES]
    return row.but(
        {
            "driver_action": deletion["driver_action"],
            "driver_host": deletion["driver_host"],
            "history_effect": "; ".join(records),
        }
    )


def _twin(row: Row) -> Row:
    """The row of a report that the VM is off: a VM that is missing is taken for off."""
    return next(twin for twin in EVENTS if twin["event"] == "vm_state POWEROFF" and twin.at == row.at)


def _then_succeeds(row: Row) -> Row:
    """A rollback goes on as if the prolog on the source had succeeded; the copied record has no action."""
    then = next(
        other
        for other in EVENTS
        if other["event"] == "prolog_success" and other.at == row.to("to_") and "in {48,49}" not in _in(other["guard"])
    )
    columns = {name: then[name] for name in ("to_state", "to_lcm_state", "driver_action", "driver_host")}
    return row.but({**columns, "history_effect": f"{row['history_effect']}; {then['history_effect']}"})


def _in(guard: str) -> str:
    return guard.replace("not in {48,49}", "")


def steps(row: Row, chosen: tuple[str, ...] = (), circumstances: Mapping[str, Any] | None = None) -> Iterator[Step]:
    """The row's events, each raised in each of its variants."""
    for variant in chosen or variants(row):
        for event in events_of(row):
            vm = _ready_for(event, subject(row.at, variant))
            if row["resched_effect"] == "set":
                vm = replace(vm, resched=False)
            facts = replace(facts_for(vm, event), **{**CIRCUMSTANCES.get(row["guard"], {}), **(circumstances or {})})
            step = take(vm, event, facts)
            if row["origin"] in ("driver", "monitor", "host") and not is_available(vm, event):
                step = replace(step, decision=Decision(vm), refusal="")  # the engine passes it over
            yield step


def _ready_for(event: VmEvent, vm: Vm) -> Vm:
    """The VM with the device that is to be detached, and with the memory of another end than this one."""
    if event in (E.DISK_DETACH, E.NIC_DETACH):
        name = event.value.partition("-")[0].upper()
        vm = replace(vm, template=vm.template.extended([(name, {f"{name}_ID": "1"})]))
    return replace(vm, shutdown_hard="hard" not in event.value) if vm.effect_id < 0 else vm


def differences_of(row: Row, step: Step) -> list[str]:
    """How what happened differs from what the row says."""
    if step.decision is None:
        return [f"refused: {step.refusal}"]
    said = []
    if step.after.position != row.to("to_"):
        said.append(f"goes to {name_of(step.after.position)}")
    said += driver_words.differences(row["driver_action"], row["driver_host"], step)
    history = phrases_of(row["history_effect"])
    said += history_words.expected_after(step, history).differences()
    said += _by_nobody(history, step)
    capacity = phrases_of(row["capacity_effect"])
    said += record_words.capacity_differences(capacity, step)
    said += record_words.said_of(capacity, step)
    if step.after.resched is not record_words.RESCHED[row["resched_effect"]](step.before.resched):
        said.append(f"RESCHED={step.after.resched:d} instead of {row['resched_effect'] or 'unchanged'}")
    if row["origin"] in ("driver", "monitor") and step.facts.certain:
        said += place_differences(step)
    said += rest_differences(step)
    return said + note_words.said_of(sentences_of(row["notes"]), step)


def place_differences(step: Step) -> list[str]:
    """Whether a domain may be where it may be in such a position: no table of OpenNebula's speaks of that."""
    at = step.after.position
    plausible = [_roles(subject(at, variant)) for variant in variants_of(at)] + _ALSO.get(step.event, [])
    if step.event is E.BOOT_FAIL and at != RUNNING:
        plausible = [set()]
    found = _roles(step.after)
    return [] if found in plausible else [f"a domain may be on the {' and '.join(sorted(found)) or 'no'} host"]


_ALSO: dict[VmEvent, list[set[str]]] = {E.SEEN_SUSPENDED: [{"current"}]}
"""A paused domain is still there; a start that has failed for certain has left none."""


def _roles(vm: Vm) -> set[str]:
    names = {vm.previous_hid: "previous", vm.hid: "current"}
    return {names.get(hid, "another") for hid in vm.may_run_on}


def _by_nobody(history: list[str], step: Step) -> list[str]:
    current = step.after.current
    if history_words.BY_NOBODY in history and current is not None and current.uid != -1:
        return [f"user {current.uid} is noted for an internal cause"]
    return []
