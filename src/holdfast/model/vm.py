"""The virtual machine and its history records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from holdfast.model.enums import HistoryAction
from holdfast.model.snapshot import DiskSnapshots
from holdfast.model.template import EMPTY, Template
from holdfast.model.vm_states import LcmState, VmState

SHOWN_WHILE_TRANSFERRED = (
    "TRANSFER",
    "TRANSFER_STEP",
    "TRANSFER_BYTES",
    "TRANSFER_TOTAL_BYTES",
    "TRANSFER_PERCENT",
)
"""Attributes that the user template of a reply has while a transfer of the VM runs; they are not stored."""


@dataclass(frozen=True, slots=True)
class History:
    """One stay of a VM on one host.  Times are epoch seconds, 0 = not yet (OpenNebula's HISTORY element)."""

    seq: int
    hid: int
    hostname: str
    cid: int
    ds_id: int
    vm_mad: str
    tm_mad: str
    stime: int = 0
    etime: int = 0
    pstime: int = 0
    petime: int = 0
    rstime: int = 0
    retime: int = 0
    estime: int = 0
    eetime: int = 0
    action: HistoryAction = HistoryAction.NONE
    uid: int = -1
    gid: int = -1
    proof_id: int = -1
    """The proof of death that unlocked this start, -1 when none was needed."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A change to a VM's devices, snapshots or size that is under way; ``action`` is empty when there is none.

    ``action`` is OpenNebula's name of it (disk-attach, nic-detach, snapshot-create, disk-resize, resize …), ``item``
    the disk, NIC or snapshot it is about, ``disk_id`` the disk of a disk snapshot, ``values`` what its end needs.
    """

    action: str = ""
    item: int = -1
    disk_id: int = -1
    values: Mapping[str, str] = field(default_factory=dict, hash=False)


NO_OPERATION = Operation()


@dataclass(frozen=True, slots=True)
class Vm:
    """A virtual machine.

    ``may_run_on`` holds the ids of the hosts where a domain of this VM may exist: it grows when a start is ordered and
    shrinks only on a driver's certain answer, a monitoring report or a proof of death.  A start on a host needs it to
    hold no *other* host: this is promise 1 of the design, as data.
    """

    oid: int
    uid: int
    gid: int
    name: str
    state: VmState
    lcm_state: LcmState
    template: Template
    user_template: Template = EMPTY
    permissions: int = 0o600
    prev_state: VmState = VmState.INIT
    prev_lcm_state: LcmState = LcmState.LCM_INIT
    resched: bool = False
    stime: int = 0
    etime: int = 0
    deploy_id: str = ""
    last_poll: int = 0
    history: tuple[History, ...] = ()
    may_run_on: tuple[int, ...] = ()
    effect_id: int = -1
    """The open effect whose answer moves this VM on, -1 when none is awaited."""
    proof_id: int = -1
    """The newest proof of death that unlocked this VM; it is named by every stay that begins before it runs again."""
    shutdown_hard: bool = False
    operation: Operation = NO_OPERATION
    snapshots: tuple[DiskSnapshots, ...] = ()
    """Disk snapshots; system snapshots are SNAPSHOT sections of the template."""
    monitoring: Template = field(default=EMPTY)

    @property
    def current(self) -> History | None:
        """The newest history record."""
        return self.history[-1] if self.history else None

    @property
    def previous(self) -> History | None:
        """The history record before the newest one."""
        return self.history[-2] if len(self.history) > 1 else None

    @property
    def previous_hid(self) -> int:
        """The host of the record before the newest one, -1 when there is none."""
        return self.history[-2].hid if len(self.history) > 1 else -1

    @property
    def is_parked(self) -> bool:
        """The newest record's files have gone to the front-end: the VM holds no capacity on that host."""
        return bool(self.history) and self.history[-1].eetime > 0

    def snapshots_of(self, disk_id: int) -> DiskSnapshots:
        """The snapshots of a disk; an empty tree when it never had any."""
        return next((tree for tree in self.snapshots if tree.disk_id == disk_id), DiskSnapshots(disk_id))

    @property
    def hid(self) -> int:
        """The host of the newest history record, -1 when never placed."""
        return self.history[-1].hid if self.history else -1

    @property
    def position(self) -> tuple[VmState, LcmState]:
        """(STATE, LCM_STATE)."""
        return (self.state, self.lcm_state)

    @property
    def state_name(self) -> str:
        """The LCM state's name while ACTIVE, else the state's (as OpenNebula's messages say it)."""
        return self.lcm_state.name if self.state is VmState.ACTIVE else self.state.name

    @property
    def cpu_percent(self) -> int:
        """Requested CPU in percent of one core (CPU=0.5 is 50)."""
        return round(self.template.get_float("CPU", 1) * 100)

    @property
    def memory_kb(self) -> int:
        """Requested memory in KiB (MEMORY is in MiB)."""
        return self.template.get_int("MEMORY", 0) * 1024
