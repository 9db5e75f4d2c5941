"""The engine's eyes: turns beacons and probes, thousands a second, into the few events that change something.

Volatile on purpose: nothing here is stored, a beacon that says nothing new costs a few microseconds.  The detector
judges silence; this module compares what agents report with the committed state.
"""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.engine.events import Event, HostAlive, HostDegraded, HostSilent, VmSeen
from holdfast.engine.state import State
from holdfast.failover.detection import Detector, Look, Patience, Verdict
from holdfast.lifecycle.positions import BOOT_FAILURES, POWEROFF, RUNNING, SHUTDOWNS, STOPPING, SUSPENDED, UNKNOWN
from holdfast.model.beacon import BeaconReport
from holdfast.model.enums import HistoryAction, HostState
from holdfast.model.failover import Evidence
from holdfast.model.host import Host
from holdfast.model.vm import Vm
from holdfast.model.vm_states import LcmState, VmState

MISSING_BEACONS = 8
"""A RUNNING VM absent from so many beacons in a row is powered off."""
MISSING_BEACONS_UNKNOWN = 15
"""The same for an UNKNOWN VM: its host has just come back, and a failover may be about to move it."""
_TO_RUNNING = (UNKNOWN, *BOOT_FAILURES, POWEROFF, SUSPENDED)
_ADOPTED = (RUNNING, UNKNOWN, POWEROFF)
"""Where a VM that is seen on another host than its own is taken for that host's."""
_MISSED = (RUNNING, UNKNOWN, SUSPENDED, *SHUTDOWNS)
"""Where a VM that is no longer seen is taken for powered off."""
MISSING_BEACONS_DOUBT = 30
"""The same for a VM that is only suspected to run on the host."""
CLAIM_S = 2.0
"""So long a new boot id must be heard, with the old one silent, before it is believed."""
RIVAL_S = 10.0
"""So long after the old boot was heard again nothing is believed of a new one."""
STRANGE_BEACONS = 2
"""A domain in so many beacons in a row is on the host, whatever was believed."""
_CAPACITY = ("TOTALCPU", "TOTALMEMORY")


class LiveSenses:
    """Senses over a detector and the committed state."""

    def __init__(self, state: State, patience: Patience, unseen_hypervisors: frozenset[str] = frozenset()) -> None:
        self.state = state
        self._unseen_hypervisors = unseen_hypervisors
        self.detector = Detector(patience)
        self._missing: dict[int, dict[int, int]] = {}
        """Beacons in a row without a VM, by VM and host."""
        self._failed: set[tuple[int, int]] = set()
        """Host and VM of domains that their hypervisor calls failed: their processes are there all the same."""
        self._claims: dict[int, tuple[str, float]] = {}
        self._rivals: dict[int, float] = {}
        self._strange: dict[tuple[int, int], int] = {}
        self._believed: dict[int, tuple[int, ...]] = {}
        self._may_run: dict[int, set[int]] = {}
        self._degraded: dict[int, str] = {}

    def watch_all(self, now: float) -> None:
        """After a start: every host that is expected to live begins with a full measure of patience."""
        for host in self.state.hosts.values():
            self.attend(host, now)

    def begin(self, now: float) -> None:
        """From now on beacons are heard: what passed since the start, while the state was loaded, is no silence."""
        self.detector.begin(now)

    def attend(self, host: Host, now: float) -> None:
        """Keeps the list of watched hosts in step with the pool."""
        if host.state is HostState.OFFLINE:
            self.detector.forget(host.oid)
        elif host.error_since == 0 and host.state is not HostState.INIT:
            self.detector.watch(host.oid, now, host.boot_id)
        elif host.error_since:
            self.detector.lost(host.oid, host.boot_id, host.error_since)
        if host.proof_id >= 0:
            self.detector.explain(host.oid)

    def attend_vm(self, vm: Vm) -> None:
        """Keeps in step on which hosts the VM may run; a VM that has changed is missed from the first beacon on."""
        self._missing.pop(vm.oid, None)
        before = self._believed.get(vm.oid, ())
        if before == vm.may_run_on:
            return
        for hid in before:
            self._may_run[hid].discard(vm.oid)
        for hid in vm.may_run_on:
            self._may_run.setdefault(hid, set()).add(vm.oid)
        self._believed[vm.oid] = vm.may_run_on

    def hear(self, report: BeaconReport, now: float) -> list[Event]:
        """A beacon arrived."""
        host = self.state.hosts.get(report.host_id)
        if host is None or host.state is HostState.OFFLINE:
            return []
        self.detector.beat(host.oid, report.boot_id, report.vms, now)
        if host.boot_id and host.boot_id != report.boot_id and not self._is_believed(host, report, now):
            return list(self._degradation(host.oid, self._rivalry(host.oid, now)))
        events: list[Event] = []
        if self._is_news(host, report):
            if host.boot_id and host.boot_id != report.boot_id and not host.error_since and self._had_vms(host):
                events.append(self._rebooted(host, report, now))
            events.append(HostAlive(host.oid, report.boot_id, report.vms, report.system))
        events.extend(self._degradation(host.oid, self._complaint(report)))
        sees_all = report.hypervisor != "down" and host.vm_mad not in self._unseen_hypervisors
        events.extend(self._compare(host, report.vms, sees_all))
        return events

    def domain_reported(self, host_id: int, vm_id: int, what: str) -> None:
        """A hypervisor says what became of a domain: one that failed is there, but does not run."""
        if what == "FAILURE":
            self._failed.add((host_id, vm_id))
        else:
            self._failed.discard((host_id, vm_id))

    def rival(self, host_id: int, now: float) -> None:
        """An agent with an earlier boot id speaks on: two machines claim to be this host."""
        self._rivals[host_id] = now

    def _is_believed(self, host: Host, report: BeaconReport, now: float) -> bool:
        """A new boot id is a reboot only if the old one stays silent: a copied agent must not prove a host dead."""
        boot_id, since = self._claims.setdefault(host.oid, (report.boot_id, now))
        if boot_id != report.boot_id:
            self._claims[host.oid] = (report.boot_id, now)
            return False
        if now - since < CLAIM_S or self._rivalry(host.oid, now):
            return False
        del self._claims[host.oid]
        return True

    def _rivalry(self, host_id: int, now: float) -> str:
        if now - self._rivals.get(host_id, -RIVAL_S) >= RIVAL_S:
            return ""
        return "two agents claim to be this host: one of them has its configuration by mistake. Stop that one"

    def _is_news(self, host: Host, report: BeaconReport) -> bool:
        if host.state in (HostState.INIT, HostState.ERROR) or host.error_since or host.boot_id != report.boot_id:
            return True
        system = report.system
        return system is not None and any(system.get(key, "") != host.template.get(key) for key in _CAPACITY)

    def _had_vms(self, host: Host) -> bool:
        return bool(host.vms or self._may_run.get(host.oid))

    def _rebooted(self, host: Host, report: BeaconReport, now: float) -> HostSilent:
        """A host that reboots faster than silence is noticed has lost its VMs all the same."""
        text = f"boot id changed from {host.boot_id} to {report.boot_id}"
        return HostSilent(host.oid, now, False, (Evidence("agent", now, "REBOOTED", text),), host.boot_id)

    def _complaint(self, report: BeaconReport) -> str:
        return "libvirtd does not answer on the host; its VMs are left alone" if report.hypervisor == "down" else ""

    def _degradation(self, host_id: int, text: str) -> Iterable[Event]:
        shown = "as stored" if "ERROR" in self.state.hosts[host_id].template else ""
        if self._degraded.get(host_id, shown) == text:
            return ()
        self._degraded[host_id] = text
        return (HostDegraded(host_id, text),)

    def _compare(self, host: Host, reported: tuple[tuple[int, str], ...], sees_all: bool) -> list[Event]:
        """The agent's list of domains against the VMs that the host should have.

        While its hypervisor does not answer, an absent domain proves nothing: a start may be waiting in there.  And of
        some hypervisors agents see no guest at all.
        """
        present = {vm_id for vm_id, _ in reported}
        vms, missing = self.state.vms, self._missing
        events: list[Event] = []
        for vm_id in host.vms:
            vm = vms.get(vm_id)
            if vm is None or (vm.effect_id >= 0 and vm.position not in SHUTDOWNS):
                continue
            if vm_id in present:
                if vm_id in missing:
                    missing[vm_id].pop(host.oid, None)
                if vm.lcm_state is not LcmState.RUNNING and self._is_news_of(vm, host):
                    events.append(VmSeen(host.oid, vm_id, "RUNNING"))
            elif sees_all and self._is_missed(vm):
                events.append(VmSeen(host.oid, vm_id, "POWEROFF"))
        believed = self._may_run.get(host.oid, set())
        doubted = believed - present if sees_all else ()
        events.extend(VmSeen(host.oid, vm_id, "ABSENT") for vm_id in doubted if self._is_absent(host, vm_id))
        events.extend(
            VmSeen(host.oid, vm_id, "PRESENT") for vm_id in present - believed if self._is_strange(host, vm_id)
        )
        unlisted = present.difference(host.vms)
        events.extend(VmSeen(host.oid, vm_id, "ELSEWHERE") for vm_id in unlisted if self._is_adopted(host, vm_id))
        return events

    def _is_news_of(self, vm: Vm, host: Host) -> bool:
        """A domain that was paused is there all the same: that it is seen does not mean that it runs again."""
        if (host.oid, vm.oid) in self._failed:
            return False
        paused = vm.position == SUSPENDED and vm.current is not None and vm.current.action is HistoryAction.MONITOR
        return vm.position in _TO_RUNNING and not (paused and host.oid in vm.may_run_on)

    def _is_adopted(self, host: Host, vm_id: int) -> bool:
        """It runs here and can run nowhere else, although its record names another host."""
        vm = self.state.vms.get(vm_id)
        if vm is None or vm.effect_id >= 0 or vm.may_run_on != (host.oid,) or vm.position not in _ADOPTED:
            return False
        return vm.position != POWEROFF or (vm.current is not None and vm.current.action is HistoryAction.MONITOR)

    def _is_absent(self, host: Host, vm_id: int) -> bool:
        """A doubt ends when the agent denies the domain for long enough, and no driver is at work on it."""
        vm = self.state.vms.get(vm_id)
        if vm is None or (vm.effect_id >= 0 and vm.position not in STOPPING):
            self._missing.pop(vm_id, None)
            return False
        if vm.hid == host.oid and vm.position in _MISSED and not self._is_about_to_move(vm):
            return False
        return self._missed_again(vm_id, host.oid) >= MISSING_BEACONS_DOUBT

    def _missed_again(self, vm_id: int, host_id: int) -> int:
        """How many beacons of this host in a row have not had the VM."""
        counts = self._missing.setdefault(vm_id, {})
        counts[host_id] = counts.get(host_id, 0) + 1
        return counts[host_id]

    @staticmethod
    def _is_about_to_move(vm: Vm) -> bool:
        """Where it was is not asked any more, only whether anything is left of it there."""
        return vm.lcm_state is LcmState.UNKNOWN and vm.resched

    def _is_strange(self, host: Host, vm_id: int) -> bool:
        """A domain of a VM that should be elsewhere, or nowhere."""
        vm = self.state.vms.get(vm_id)
        if vm is None or vm.state is VmState.DONE or vm_id in host.vms:
            return False
        at = (host.oid, vm_id)
        self._strange[at] = self._strange.get(at, 0) + 1
        if self._strange[at] < STRANGE_BEACONS:
            return False
        del self._strange[at]
        return True

    def _is_missed(self, vm: Vm) -> bool:
        if vm.position not in _MISSED or (vm.position == SUSPENDED and vm.hid not in vm.may_run_on):
            return False
        if self._is_about_to_move(vm):
            return False
        return self._missed_again(vm.oid, vm.hid) >= (
            MISSING_BEACONS_UNKNOWN if vm.lcm_state is LcmState.UNKNOWN else MISSING_BEACONS
        )

    def look(self, now: float) -> tuple[list[Event], list[int]]:
        """Who is overdue: events for the engine, and hosts to investigate."""
        found: Look = self.detector.look(now)
        blind = bool(found.silent) and self.detector.is_blind()
        events: list[Event] = [
            HostSilent(host_id, self.detector.watches[host_id].seen_at, blind, self.evidence(host_id, now))
            for host_id in found.silent
            if host_id in self.state.hosts
        ]
        for host_id in found.suspects:
            if self.detector.watches[host_id].hypervisor_at and host_id in self.state.hosts:
                text = "its agent is silent, but its hypervisor answers: the host is not lost"
                events.extend(self._degradation(host_id, text))
        return events, found.suspects

    def is_blind(self) -> bool:
        """Too many hosts were lost at once without explanation."""
        return self.detector.is_blind()

    def heard_at(self, host_id: int) -> float:
        """When the host's agent was last heard, 0 when never."""
        watch = self.detector.watches.get(host_id)
        return watch.beat_at if watch is not None else 0.0

    def evidence(self, host_id: int, now: float) -> tuple[Evidence, ...]:
        """What was observed about the host, one item for each source."""
        watch = self.detector.watches.get(host_id)
        if watch is None:
            return ()
        silence = now - watch.seen_at
        verdict = Verdict.BLIND if self.is_blind() else watch.verdict
        return (
            Evidence("verdict", now, verdict.value, f"silent for {silence:.1f} s"),
            Evidence("agent", watch.seen_at, "silent", f"last beacon {silence:.1f} s ago, boot id {watch.boot_id}"),
            Evidence("hypervisor", now, "silent" if silence > 0 else "", watch.hypervisor_text),
            Evidence(
                "storage heartbeat", now, watch.heartbeat, f"heartbeat on the shared datastore: {watch.heartbeat}"
            ),
        )
