"""How Holdfast differs from a row of the matrix of recoveries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from holdfast.lifecycle.events import RECOVERIES as EVENTS
from holdfast.model.enums import HistoryAction, RecoverOperation
from tests.unit.lifecycle.reference import driver_words, history_words, note_words, record_words
from tests.unit.lifecycle.reference.phrases import phrases_of, sentences_of
from tests.unit.lifecycle.reference.rows import RECOVERY_BY_KEY, Row, name_of
from tests.unit.lifecycle.reference.step import Step, facts_for, follow, rest_differences, take
from tests.unit.lifecycle.reference.subjects import subject, variants_of

ACTION_ERROR = 2048
RESCHEDULED = "RESCHED=1"
"""A recovery that takes the VM back to where it cannot stay."""


def variants(row: Row) -> tuple[str, ...]:
    """The variants of the position that the row is about: all."""
    return variants_of(row.at)


def meaning_of(row: Row) -> Row:
    """The row with what it says by pointing at others written out."""
    if not any(sentence in note_words.THEN_SUCCEEDS for sentence in sentences_of(row["notes"])):
        return row
    then = RECOVERY_BY_KEY[f"--success in {row['next_lcm_state']}"]
    records = [phrase for phrase in phrases_of(then["side_effects"]) if phrase in history_words.PHRASES]
    return row.but(
        {
            "next_state": then["next_state"],
            "next_lcm_state": then["next_lcm_state"],
            "side_effects": "; ".join((row["side_effects"], *records)),
        }
    )


def steps(row: Row, chosen: tuple[str, ...] = (), circumstances: Mapping[str, Any] | None = None) -> Iterator[Step]:
    """The operation, raised in each of the row's variants, with RESCHED set and without."""
    event = EVENTS[RecoverOperation(int(row["op_code"]))]
    for variant in chosen or variants(row):
        for resched in (True, False):
            vm = replace(subject(row.at, variant), resched=resched)
            yield take(vm, event, replace(facts_for(vm, event), **(circumstances or {})))


def differences_of(row: Row, step: Step) -> list[str]:
    """How what happened differs from what the row says."""
    if row["api_result"] == "error":
        return _refusal_differences(row, step)
    if step.decision is None:
        return [f"refused: {step.refusal}"]
    row = _by_poweroff(row, step)
    said = []
    if step.after.position != row.to("next_"):
        said.append(f"goes to {name_of(step.after.position)}")
    if row["api_result"] == "ok_noop" and step.decision.effect is not None:
        said.append("does something")
    said += driver_words.differences(row["driver_action"], row["driver_host"], step)
    said += _side_effect_differences(row, step)
    said += _end_differences(row, step, "ok") + _end_differences(row, step, "fails")
    return said + note_words.said_of(sentences_of(row["notes"]), step)


def _refusal_differences(row: Row, step: Step) -> list[str]:
    text = row["notes"].removeprefix(note_words.ERROR).replace("<id>", str(step.before.oid))
    if step.decision is not None:
        return [f"is not refused, goes to {name_of(step.after.position)}"]
    return [] if (step.refusal, step.code) == (text, ACTION_ERROR) else [f"refused: {step.code} {step.refusal}"]


def _by_poweroff(row: Row, step: Step) -> Row:
    """The row for a move that has shut the VM down: its note says what is different."""
    current = step.before.current
    styles = (HistoryAction.POFF_MIGRATE, HistoryAction.POFF_HARD_MIGRATE)
    if note_words.BY_POWEROFF not in sentences_of(row["notes"]) or current is None or current.action not in styles:
        return row
    return row.but(
        {"next_lcm_state": "BOOT", "driver_action": "VMM:deploy", "final_lcm_state_if_driver_fails": "BOOT_FAILURE"}
    )


def _side_effect_differences(row: Row, step: Step) -> list[str]:
    phrases = phrases_of(row["side_effects"])
    tables = (history_words.PHRASES, record_words.CAPACITY, record_words.PHRASES)
    unknown = [phrase for phrase in phrases if not any(phrase in table for table in tables)]
    assert not unknown, f"{row.key}: no such phrase: {unknown}"
    history, capacity = ([phrase for phrase in phrases if phrase in table] for table in tables[:2])
    said = history_words.expected_after(step, history).differences()
    said += record_words.capacity_differences(capacity, step)
    said += record_words.said_of(phrases, step)
    if row["op"] in ("failure", "success", "retry"):
        wanted = step.before.resched or RESCHEDULED in phrases
        said += [] if step.after.resched is wanted else [f"RESCHED={step.after.resched:d}"]
    return said + rest_differences(step)


def _end_differences(row: Row, step: Step, how: str) -> list[str]:
    """Where the VM comes to rest when the first driver succeeds, or fails."""
    suffix = f"_if_driver_{how}"
    state, lcm_state = row[f"final_state{suffix}"], row[f"final_lcm_state{suffix}"]
    if not state:
        return []
    try:
        found = name_of(follow(step, ok=how == "ok").position)
    except AssertionError as stuck:
        return [f"if the driver {how}: {stuck}"]
    wanted = lcm_state if state == "ACTIVE" and lcm_state != "LCM_INIT" else state
    return [f"ends in {found} if the driver {how}"] if found != wanted else []
