"""The rows of the three tables, as they are written, with the keys that the deviations refer to."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from holdfast.lifecycle.positions import Position
from holdfast.model.vm_states import LcmState, VmState

DATA = Path(__file__).parents[3] / "data" / "one"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table: ``key`` names it, ``at`` is the position it starts from."""

    key: str
    at: Position
    columns: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.columns[column]

    def but(self, columns: Mapping[str, str]) -> Row:
        """The row with some columns replaced; naming a column that it does not have is a slip."""
        unknown = set(columns) - set(self.columns)
        assert not unknown, f"{self.key}: no such column: {unknown}"
        return replace(self, columns={**self.columns, **columns})

    def to(self, prefix: str) -> Position | None:
        """The position that two columns name, None when they are empty."""
        state, lcm_state = self.columns[f"{prefix}state"], self.columns[f"{prefix}lcm_state"]
        return position(state, lcm_state) if state else None


def position(state: str, lcm_state: str) -> Position:
    """(STATE, LCM_STATE) by their names."""
    return VmState[state], LcmState[lcm_state]


def name_of(at: Position) -> str:
    """What a position is called: the LCM state while ACTIVE, else the state; ACTIVE/LCM_INIT is none of Holdfast's."""
    if at == (VmState.ACTIVE, LcmState.LCM_INIT):
        return "ACTIVE"
    return at[1].name if at[0] is VmState.ACTIVE else at[0].name


def _read(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _event_row(columns: dict[str, str]) -> Row:
    at = position(columns["from_state"], columns["from_lcm_state"])
    guard = f" [{columns['guard']}]" if columns["event"] in GUARDED else ""
    who = f"{columns['origin']}: " if columns["origin"] == "recover" else ""
    return Row(f"{who}{columns['event']}{guard} in {name_of(at)}", at, columns)


def _recover_row(columns: dict[str, str]) -> Row:
    at = position(columns["state"], columns["lcm_state"])
    return Row(f"{columns['cli_option']} in {name_of(at)}", at, columns)


GUARDED = ("deploy", "prolog_success")
"""Events whose rows differ by their guard alone."""

STATES = _read("one-vm-states.csv")
EVENTS = [_event_row(columns) for columns in _read("one-lcm-events.csv")]
RECOVERIES = [_recover_row(columns) for columns in _read("one-recover-matrix.csv")]
RECOVERY_BY_KEY = {row.key: row for row in RECOVERIES}

HELD: Mapping[Position, str] = {
    position(*((row["name"], "LCM_INIT") if row["kind"] == "STATE" else ("ACTIVE", row["name"]))): row[
        "host_capacity_held_on"
    ]
    for row in STATES
}
"""The text that says on which hosts a position holds capacity."""
WAITS_ON: Mapping[Position, str] = {
    position("ACTIVE", row["name"]): row["waits_on"] for row in STATES if row["kind"] == "LCM_STATE"
}
CATEGORY: Mapping[Position, str] = {
    position(*((row["name"], "LCM_INIT") if row["kind"] == "STATE" else ("ACTIVE", row["name"]))): row["category"]
    for row in STATES
}
