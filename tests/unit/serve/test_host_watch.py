"""Which hosts are watched, what an investigation finds, and the monitor of hosts that have no agent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import libvirt

from holdfast.drivers.im.heartbeats import HeartbeatWatch
from holdfast.drivers.im.link import BeaconLink
from holdfast.drivers.vmm.domain_states import DomainReport
from holdfast.engine.engine import Batch
from holdfast.engine.events import Event, VmSeen
from holdfast.engine.ports import Changes, Snapshot
from holdfast.engine.senses import LiveSenses
from holdfast.engine.state import State
from holdfast.failover.detection import Patience
from holdfast.model.beacon import BeaconReport, Heartbeat, host_key, seal_heartbeat
from holdfast.model.enums import HostState
from holdfast.model.host import Host
from holdfast.model.template import EMPTY, Template
from holdfast.model.vm import Vm
from holdfast.model.vm_states import LcmState, VmState
from holdfast.serve.watch import DummyMonitor, HostWatch

LIMIT_S = 15.0
KEY = host_key(b"k" * 32, 0)


def host(
    oid: int = 0, vm_mad: str = "qemu", uri: str = "test:///default", state: HostState = HostState.MONITORED
) -> Host:
    return Host(oid, f"host{oid}", state, vm_mad, vm_mad, template=Template([("LIBVIRT_URI", uri)]))


class Stand:
    """A watch over some hosts; ``test:///`` is libvirt's own mock hypervisor."""

    def __init__(self, folder: Path, *hosts: Host) -> None:
        self.state = State(Snapshot(1, list(hosts)))
        self.senses = LiveSenses(self.state, Patience())
        self.events: list[Event] = []
        self.folder = folder
        heartbeats = HeartbeatWatch(folder, lambda host_id: KEY, window_s=0.3)
        link = BeaconLink(lambda host_id: KEY, lambda report: None)
        self.watch = HostWatch(self.state, self.senses, self.events.append, heartbeats, link, pause_settles_s=0.1)
        for one in hosts:
            self.senses.detector.watch(one.oid, time.time(), "boot-1")

    def found(self, host_id: int = 0) -> tuple[str, str]:
        watch = self.senses.detector.watches[host_id]
        return watch.hypervisor_text, watch.heartbeat

    async def until_found(self, hypervisor: str, heartbeat: str) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not (hypervisor in self.found()[0] and self.found()[1] == heartbeat):
                await asyncio.sleep(0.01)


@asynccontextmanager
async def stand(folder: Path, *hosts: Host) -> AsyncIterator[Stand]:
    built = Stand(folder, *hosts)
    built.watch.begin()
    try:
        yield built
    finally:
        await built.watch.close()


async def connected(built: Stand, host_id: int = 0) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not built.watch.connections.connected(host_id):
            await asyncio.sleep(0.01)


def test_a_host_whose_agent_is_silent_is_asked_in_two_other_ways(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with stand(tmp_path, host()) as built:
            await connected(built)
            beating = asyncio.create_task(beat(tmp_path / "0"))
            built.watch.investigate([0])
            await built.until_found("hypervisor answers", "advancing")
            assert built.senses.detector.watches[0].hypervisor_at > 0
            beating.cancel()

    asyncio.run(scenario())


async def beat(file: Path) -> None:
    """Writes a heartbeat again and again."""
    for seq in range(10_000):
        file.write_bytes(seal_heartbeat(KEY, Heartbeat(0, "boot-1", seq, 0.0, ())))
        await asyncio.sleep(0.03)


def test_a_host_that_answers_nowhere_is_reported_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with stand(tmp_path, host(uri="qemu+tcp://127.0.0.1:1/system")) as built:
            built.watch.investigate([0])
            await built.until_found("hypervisor does not answer", "unreadable")
            assert built.senses.detector.watches[0].hypervisor_at == 0

    asyncio.run(scenario())


def test_a_host_without_hypervisor_connection_is_not_asked(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with stand(tmp_path, host(vm_mad="dummy")) as built:
            built.watch.investigate([0, 99])
            await asyncio.sleep(0.05)
            assert built.found() == ("not asked", "not read")

    asyncio.run(scenario())


def test_hosts_are_watched_from_their_first_commit_until_they_are_offline_or_gone(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with stand(tmp_path) as built:
            built.watch.take(Batch((), changes=Changes(1, [host(0), host(1), host(2, vm_mad="dummy")])))
            await connected(built, 0)
            await connected(built, 1)
            assert not built.watch.connections.connected(2)
            built.watch.take(Batch((), changes=Changes(1, [host(0, state=HostState.OFFLINE)], [(Host, 1)])))
            await asyncio.sleep(0.05)
            assert not built.watch.connections.connected(0)
            assert not built.watch.connections.connected(1)

    asyncio.run(scenario())


def test_the_dummy_monitor_reports_hosts_and_the_vms_that_may_run_there() -> None:
    async def scenario() -> None:
        sizes = Template([("DUMMY_CPU", "200"), ("DUMMY_MEMORY_KB", "1024"), ("DUMMY_BOOT_ID", "b7")])
        hosts = [
            Host(0, "small", HostState.MONITORED, "dummy", "dummy", template=sizes, vms=(0, 1)),
            Host(1, "dead", HostState.MONITORED, "dummy", "dummy", template=Template([("DUMMY_DEAD", "YES")])),
            Host(2, "real", HostState.MONITORED, "kvm", "kvm"),
            Host(3, "plain", HostState.INIT, "dummy", "dummy"),
        ]
        vms = [
            Vm(0, 0, 0, "here", VmState.ACTIVE, LcmState.RUNNING, EMPTY, may_run_on=(0,)),
            Vm(1, 0, 0, "off", VmState.POWEROFF, LcmState.LCM_INIT, EMPTY),
        ]
        heard: list[BeaconReport] = []
        monitor = asyncio.create_task(DummyMonitor(State(Snapshot(1, [*hosts, *vms])), heard.append, 0.02).run())
        async with asyncio.timeout(LIMIT_S):
            while len(heard) < 4:
                await asyncio.sleep(0.01)
        monitor.cancel()
        assert [report.host_id for report in heard[:4]] == [0, 3, 0, 3]
        small, plain = heard[:2]
        assert (small.boot_id, small.vms) == ("b7", ((0, "RUNNING"),))
        assert small.system == {"TOTALCPU": "200", "TOTALMEMORY": "1024", "HYPERVISOR": "dummy"}
        assert (plain.boot_id, plain.vms, plain.hypervisor) == ("dummy-3", (), "up")
        assert heard[2].seq > small.seq

    asyncio.run(scenario())


DOMAIN = "<domain type='test'><name>one-7</name><memory>1024</memory><os><type>hvm</type></os></domain>"


def test_a_domain_that_stays_paused_is_reported_as_suspended_and_a_short_pause_is_not(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with stand(tmp_path, host()) as built:
            await connected(built)
            domain = libvirt.open("test:///default").createXML(DOMAIN, 0)
            try:
                domain.suspend()
                domain.resume()
                await asyncio.sleep(0.3)
                assert VmSeen(0, 7, "SUSPENDED") not in built.events
                domain.suspend()
                async with asyncio.timeout(LIMIT_S):
                    while VmSeen(0, 7, "SUSPENDED") not in built.events:
                        await asyncio.sleep(0.01)
            finally:
                domain.destroy()

    asyncio.run(scenario())


def test_an_end_that_is_older_than_the_domain_that_runs_now_is_not_believed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with stand(tmp_path, host()) as built:
            await connected(built)
            domain = libvirt.open("test:///default").createXML(DOMAIN, 0)
            try:
                built.watch.connections.domain_changed(0, 7, DomainReport.POWEROFF)
                built.watch.connections.domain_changed(0, 8, DomainReport.FAILURE)
                async with asyncio.timeout(LIMIT_S):
                    while VmSeen(0, 8, "FAILURE") not in built.events:
                        await asyncio.sleep(0.01)
                assert VmSeen(0, 7, "POWEROFF") not in built.events
            finally:
                domain.destroy()
            async with asyncio.timeout(LIMIT_S):
                while VmSeen(0, 7, "POWEROFF") not in built.events:
                    await asyncio.sleep(0.01)

    asyncio.run(scenario())
