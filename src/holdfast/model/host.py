"""The host: a machine with a hypervisor."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.model.enums import HostState
from holdfast.model.template import EMPTY, Template


@dataclass(frozen=True, slots=True)
class HostDatastore:
    """How full the host's own part of a system datastore is, in MiB."""

    ds_id: int
    total_mb: int
    free_mb: int
    used_mb: int
    promised_mb: int = 0
    """What transfers that began since the measurement may write."""


@dataclass(frozen=True, slots=True)
class Host:
    """A host.  CPU in percent of a core, memory in KiB, as in OpenNebula's HOST_SHARE."""

    oid: int
    name: str
    state: HostState
    im_mad: str
    vm_mad: str
    cluster_id: int = 0
    prev_state: HostState = HostState.INIT
    template: Template = EMPTY
    max_cpu: int = 0
    max_mem: int = 0
    cpu_usage: int = 0
    mem_usage: int = 0
    vms: tuple[int, ...] = ()
    boot_id: str = ""
    """Boot id last reported by the host's agent; empty when it was never heard."""
    last_seen: int = 0
    """Epoch second of the last stored sign of life (a bound; the detector knows better)."""
    error_since: float = 0.0
    """When the host was lost, 0 while it is in touch.  A DISABLED host keeps its state but is lost all the same."""
    lost_boot_id: str = ""
    """Boot id of the host when it was last lost: another one since proves a reboot."""
    datastores: tuple[HostDatastore, ...] = ()
    """System datastores of which it has files of its own."""
    proof_id: int = -1
    """Newest proof of death of this host that no later sign of life has outdated, -1 when none."""

    @property
    def usable(self) -> bool:
        """The scheduler may place VMs here."""
        return self.state is HostState.MONITORED

    @property
    def in_touch(self) -> bool:
        """Its agent was heard, and has not fallen silent since."""
        return not self.error_since and self.state in (HostState.MONITORED, HostState.DISABLED)

    @property
    def free_cpu(self) -> int:
        """Capacity not yet given away, in percent of a core."""
        return self.max_cpu - self.cpu_usage

    @property
    def free_mem(self) -> int:
        """Memory not yet given away, in KiB."""
        return self.max_mem - self.mem_usage
