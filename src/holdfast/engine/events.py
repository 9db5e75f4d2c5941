"""What reaches the engine: calls of users, answers of drivers, observations, and time.

Every event is an immutable value, so that a batch whose commit failed can be handled again as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.engine.commands import Command
from holdfast.model.effect import Answer
from holdfast.model.failover import Evidence
from holdfast.model.user import Actor


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events."""


@dataclass(frozen=True, slots=True)
class Called(Event):
    """A user asks for something."""

    actor: Actor
    command: Command


@dataclass(frozen=True, slots=True)
class Answered(Event):
    """A driver answers an effect."""

    effect_id: int
    answer: Answer


@dataclass(frozen=True, slots=True)
class HostAlive(Event):
    """An authenticated agent reports: a host that was unknown, lost or rebooted, or whose capacity changed."""

    host_id: int
    boot_id: str
    vms: tuple[tuple[int, str], ...] = ()
    system: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class HostSilent(Event):
    """A host shows no sign of life any more; the evidence says what was looked at."""

    host_id: int
    since: float
    blind: bool
    evidence: tuple[Evidence, ...]
    boot_id: str = ""
    """The boot that fell silent; empty means whichever the host has."""


@dataclass(frozen=True, slots=True)
class HostDegraded(Event):
    """The host lives, but something on it does not; empty text ends it."""

    host_id: int
    text: str


@dataclass(frozen=True, slots=True)
class VmSeen(Event):
    """Monitoring saw a VM on a host: RUNNING, POWEROFF or FAILURE; PRESENT or ABSENT against what was believed."""

    host_id: int
    vm_id: int
    what: str


@dataclass(frozen=True, slots=True)
class DatastoreMeasured(Event):
    """A look at a datastore found these figures, in MiB; or it failed, and ``error`` says why."""

    ds_id: int
    total_mb: int = 0
    free_mb: int = 0
    used_mb: int = 0
    error: str = ""
    host_id: int = -1
    """The host whose own part of it was looked at; -1 for what the controller sees."""


@dataclass(frozen=True, slots=True)
class EffectExpired(Event):
    """An effect's deadline passed without an answer."""

    effect_id: int


@dataclass(frozen=True, slots=True)
class Resumed(Event):
    """The controller has started again: what was under way is taken up with fresh limits."""


@dataclass(frozen=True, slots=True)
class FailoverDue(Event):
    """A failover's stored deadline, or the time of its next reading, has come."""

    failover_id: int


@dataclass(frozen=True, slots=True)
class PlacementDue(Event):
    """These VMs wait for a place, and something has changed that may help them."""

    vm_ids: tuple[int, ...]
