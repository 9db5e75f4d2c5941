"""What a decision may know besides the VM itself, and where a VM can be placed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from holdfast.model.user import HOLDFAST, Actor
from holdfast.model.vm import NO_OPERATION, Operation


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
    local_files: bool = False
    """The VM's system datastore is not shared: only the host that the VM is on has its files."""
    certain: bool = True
    """The driver (or the operator) is certain of what it says."""
    proof_id: int = -1
    """The proof of death that this event rests on."""
    dead_hid: int = -1
    """The host that was proven dead."""
    operation: Operation = NO_OPERATION
    """The change to devices, snapshots or size that a user asks for."""
    values: Mapping[str, str] = field(default_factory=dict)
    """What the driver's answer says besides."""
    order_hids: tuple[int, ...] = ()
    """The hosts that the answered order was about; empty means the VM's own."""
    cold_nic_attach: bool = False
    """The driver attaches NICs to VMs that are off."""
    deploy_id: str = ""
    """What the hypervisor calls the domain."""
