"""The effect: something a driver is asked to do, stored before it is done (design section 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from holdfast.model.enums import EffectKind, EffectState


@dataclass(frozen=True, slots=True)
class Effect:
    """A row of the journal.  ``subject`` is the id of the VM, failover, image or hook that waits for the answer."""

    oid: int
    kind: EffectKind
    subject: int
    host_id: int
    planned_at: float
    deadline: float
    epoch: int
    state: EffectState = EffectState.PLANNED
    proof_id: int = -1
    ended_at: float = 0.0
    message: str = ""
    args: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a driver says about an effect.

    ``certain`` is false when the driver cannot tell what became of its order (a time-out, a lost connection): then the
    world may be in either state, and nothing may be concluded from the failure.
    """

    ok: bool
    message: str = ""
    certain: bool = True
    values: Mapping[str, str] = field(default_factory=dict)
