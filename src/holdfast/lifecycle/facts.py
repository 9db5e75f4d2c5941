"""What a decision may know besides the VM itself, and where a VM can be placed."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.model.user import HOLDFAST, Actor


@dataclass(frozen=True, slots=True)
class Target:
    """Where a VM is to go."""

    hid: int
    hostname: str
    cid: int
    ds_id: int
    vm_mad: str
    tm_mad: str


@dataclass(frozen=True, slots=True)
class Facts:
    """The circumstances of one event; ``now`` is in epoch seconds."""

    now: int
    actor: Actor = HOLDFAST
    target: Target | None = None
    host_lost: bool = False
    """The VM's current host is in ERROR."""
    certain: bool = True
    """The driver (or the operator) is certain of what it says."""
    proof_id: int = -1
    """The proof of death that this event rests on, or that unlocked the VM before."""
    dead_hid: int = -1
    """The host that was proven dead."""
    deploy_id: str = ""
    """What the hypervisor calls the domain."""
