"""The failover of one host, the proof that unlocks it, and its row for each VM (design section 5)."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.model.enums import FailoverMode, FailoverState, ProofKind, RowState


@dataclass(frozen=True, slots=True)
class Proof:
    """Why we are certain that a host runs none of our VMs: raw output of the device, or the operator's word."""

    oid: int
    host_id: int
    kind: ProofKind
    at: float
    by: str
    text: str
    raw: str = ""
    boot_id: str = ""
    failover_id: int = -1


@dataclass(frozen=True, slots=True)
class Evidence:
    """One observation about a host: where it came from, when, and what it says."""

    source: str
    at: float
    verdict: str
    text: str


@dataclass(frozen=True, slots=True)
class Step:
    """A line of the failover's timeline."""

    at: float
    state: FailoverState
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """One VM of the dead host: where it goes and how far it is.  Times are epoch seconds, 0 = not yet."""

    vm_id: int
    name: str
    state: RowState = RowState.WAITING
    from_hid: int = -1
    to_hid: int = -1
    proof_id: int = -1
    placed_at: float = 0.0
    started_at: float = 0.0
    running_at: float = 0.0
    attempts: int = 0
    tried: tuple[int, ...] = ()
    reason: str = ""
    had_failed: str = ""
    """The failure state in which the VM was before its host was lost, empty for one that was well."""

    @property
    def is_final(self) -> bool:
        """Nothing more will happen to this VM within the failover."""
        return self.state in (RowState.RUNNING, RowState.SKIPPED)


@dataclass(frozen=True, slots=True)
class Failover:
    """What happens because one host died.  Stored; survives restarts."""

    oid: int
    host_id: int
    hostname: str
    state: FailoverState
    mode: FailoverMode
    requested_by: str
    stime: float
    force: bool = False
    pause: int = 0
    fencing: bool = True
    deadline: float = 0.0
    etime: float = 0.0
    boot_id: str = ""
    """Boot id of the host when it was lost: a live agent with another one proves a reboot."""
    proof_id: int = -1
    reason: str = ""
    resume: FailoverState = FailoverState.WATCHING
    """While BLOCKED: where ``retry`` goes on."""
    effect_id: int = -1
    """The open fencing effect, -1 when none."""
    next_probe: float = 0.0
    insisted: bool = False
    """An operator asked to go on (retry): the brake for many lost hosts does not hold it up again."""
    evidence: tuple[Evidence, ...] = ()
    steps: tuple[Step, ...] = ()
    rows: tuple[Row, ...] = ()
    """One for each VM, in the order of their ids."""

    @property
    def is_open(self) -> bool:
        """Not finished: something may still happen."""
        return not self.state.is_final
