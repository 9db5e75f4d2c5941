"""Detection: from signs of life to "this host has gone silent".

Theory of operation
  * A host lives as long as its agent's beacons arrive.  After ``suspect_after_s`` of silence it is SUSPECT and is
    *investigated* (ask its hypervisor, read its heartbeat on the shared datastore).  After ``dead_after_s`` it is
    SILENT, unless its hypervisor answered since: a crashed agent is not a dead host.
  * A monitor that was itself asleep accuses nobody: when two looks lie further apart than planned, the silence of all
    hosts is shortened by the time that was slept.
  * When too many hosts fall silent together we are BLIND, and failovers wait for a human (:meth:`Detector.is_blind`).

The detector is volatile: after a restart every host begins with a full measure of patience.  Costs per look grow with
the hosts that are overdue, not with those that exist: the oldest sign of life is always first in line.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from enum import Enum


class Verdict(Enum):
    """What the evidence says about a host (design section 5)."""

    ALIVE = "ALIVE"
    SUSPECT = "SUSPECT"
    ISOLATED = "ISOLATED"
    DEAD = "DEAD"
    BLIND = "WE ARE BLIND"


@dataclass(frozen=True, slots=True)
class Patience:
    """Time limits of the detection, in seconds."""

    beacon_period_s: float = 1.0
    suspect_after_s: float = 1.5
    dead_after_s: float = 3.0
    look_every_s: float = 0.25
    blind_share: float = 0.5


@dataclass(slots=True)
class Watch:
    """What is known about one host.  Times are those of the controller's clock."""

    seen_at: float
    beat_at: float = 0.0
    """When its last beacon arrived; ``seen_at`` may be later, when the controller itself was asleep."""
    boot_id: str = ""
    heard: bool = False
    verdict: Verdict = Verdict.ALIVE
    vms: tuple[tuple[int, str], ...] = ()
    hypervisor_at: float = 0.0
    hypervisor_text: str = "not asked"
    heartbeat: str = "not read"
    silent_since: float = 0.0


@dataclass(slots=True)
class Look:
    """What one look found: hosts to investigate and hosts that have gone silent."""

    suspects: list[int] = field(default_factory=list)
    silent: list[int] = field(default_factory=list)


class Detector:
    """Watches all hosts.  Knows no clock: every method is told the time."""

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self.watches: dict[int, Watch] = {}
        self._line: OrderedDict[int, float] = OrderedDict()
        self._expected: set[int] = set()
        """Hosts that were heard and whose silence would need an explanation."""
        self._lost: set[int] = set()
        self._looked_at = 0.0

    def watch(self, host_id: int, now: float, boot_id: str = "") -> None:
        """Begins to watch a host with a full measure of patience."""
        if host_id not in self.watches:
            self.watches[host_id] = Watch(seen_at=now, boot_id=boot_id, heard=bool(boot_id))
            self._line[host_id] = now
            if boot_id:
                self._expected.add(host_id)

    def lost(self, host_id: int, boot_id: str, since: float = 0.0) -> None:
        """The host was lost before the controller started, and is not explained yet."""
        if boot_id and host_id not in self.watches:
            self.watches[host_id] = Watch(seen_at=since, boot_id=boot_id, heard=True, verdict=Verdict.DEAD)
            self._expected.add(host_id)
            self._lost.add(host_id)

    def forget(self, host_id: int) -> None:
        """The host was deleted or taken offline."""
        self.watches.pop(host_id, None)
        self._line.pop(host_id, None)
        self._expected.discard(host_id)
        self._lost.discard(host_id)

    def beat(self, host_id: int, boot_id: str, vms: tuple[tuple[int, str], ...], now: float) -> Watch:
        """A beacon: the strongest sign of life."""
        watch = self.watches.setdefault(host_id, Watch(seen_at=now))
        watch.seen_at = now
        watch.beat_at = now
        watch.boot_id = boot_id
        watch.heard = True
        watch.verdict = Verdict.ALIVE
        watch.vms = vms
        watch.silent_since = 0.0
        self._line[host_id] = now
        self._line.move_to_end(host_id)
        self._expected.add(host_id)
        self._lost.discard(host_id)
        return watch

    def hypervisor_answered(self, host_id: int, ok: bool, text: str, now: float) -> None:
        """The host's hypervisor was asked: a weaker sign of life, good against a crashed agent."""
        watch = self.watches.get(host_id)
        if watch is None:
            return
        watch.hypervisor_text = text
        if ok:
            watch.hypervisor_at = now

    def heartbeat_read(self, host_id: int, text: str) -> None:
        """The host's heartbeat on the shared datastore was read: advancing, stalled or unreadable."""
        if host_id in self.watches:
            self.watches[host_id].heartbeat = text

    def explain(self, host_id: int) -> None:
        """The host is proven dead or out of service: it no longer counts as lost without explanation."""
        if host_id in self.watches:
            self._expected.discard(host_id)
            self._lost.discard(host_id)

    def begin(self, now: float) -> None:
        """The looking begins: what passed before (a long load, say) was nobody's silence."""
        for host_id in self._line:
            self.watches[host_id].seen_at = now
            self._line[host_id] = now
        self._looked_at = now

    def look(self, now: float) -> Look:
        """Who is overdue?  Call it every ``look_every_s``."""
        self._forgive_own_sleep(now)
        found = Look()
        for host_id in self._overdue(now - self.patience.suspect_after_s):
            self._judge(host_id, now, found)
        return found

    def _overdue(self, limit: float) -> list[int]:
        hosts = []
        for host_id, seen_at in self._line.items():
            if seen_at > limit:
                break
            hosts.append(host_id)
        return hosts

    def _judge(self, host_id: int, now: float, found: Look) -> None:
        watch = self.watches[host_id]
        if now - watch.seen_at < self.patience.dead_after_s:
            self._suspect(host_id, watch, found)
        elif now - watch.hypervisor_at < self.patience.dead_after_s:
            found.suspects.append(host_id)
        else:
            watch.verdict = Verdict.ISOLATED if watch.heartbeat == "advancing" else Verdict.DEAD
            watch.silent_since = watch.seen_at
            del self._line[host_id]
            if watch.heard:
                self._lost.add(host_id)
            found.silent.append(host_id)

    def _suspect(self, host_id: int, watch: Watch, found: Look) -> None:
        if watch.verdict is Verdict.ALIVE:
            watch.verdict = Verdict.SUSPECT
            watch.heartbeat = "not read"
            found.suspects.append(host_id)

    def _forgive_own_sleep(self, now: float) -> None:
        slept = now - self._looked_at - 4 * self.patience.look_every_s
        if self._looked_at and slept > 0:
            for host_id in self._line:
                watch = self.watches[host_id]
                watch.seen_at = min(now, watch.seen_at + slept)
                self._line[host_id] = watch.seen_at
        self._looked_at = now

    def is_blind(self) -> bool:
        """Too many hosts are lost at once without explanation: the fault is probably ours."""
        return len(self._lost) >= 2 and len(self._lost) > self.patience.blind_share * len(self._expected)
