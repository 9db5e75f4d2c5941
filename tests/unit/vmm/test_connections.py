"""The connections to hosts, over libvirt's mock driver: in this process, and behind a libvirtd that hangs or dies."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest

from holdfast.drivers.vmm.domain_states import DomainReport, report_of_event, report_of_state, vm_id_of
from holdfast.drivers.vmm.host_link import Timing
from holdfast.drivers.vmm.line import OutcomeUnknown
from holdfast.drivers.vmm.line_pool import NotSent
from holdfast.model.host import Host
from tests.unit.vmm.listening import QUICK, until, watching
from tests.unit.vmm.objects import a_host
from tests.unit.vmm.session_daemon import SessionDaemon

GUEST = """<domain type='test'><name>one-{0}</name><uuid>00000000-0000-4000-8000-{0:012d}</uuid>
<memory>1024</memory><os><type>hvm</type></os></domain>"""


def mock_host(oid: int = 1, uri: str = "test:///default") -> Host:
    """A host of libvirt's mock driver."""
    return a_host(oid, f'LIBVIRT_URI="{uri}"')


def create(vm_id: int) -> Any:
    """Work that starts a guest."""
    return lambda connection: connection.createXML(GUEST.format(vm_id), 0) and None


def on_domain(vm_id: int, action: str) -> Any:
    """Work that calls a method of the guest."""
    return lambda connection: getattr(connection.lookupByName(f"one-{vm_id}"), action)() and None


@pytest.fixture
def silent_socket(tmp_path: Path) -> Iterator[Path]:
    """Takes connections and never says a word, like a libvirtd that is stopped."""
    path = tmp_path / "silent"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(64)
        yield path


def test_a_connection_reports_calls_domains_and_events() -> None:
    async def story() -> None:
        async with watching(mock_host()) as (connections, recorder):
            await connections.call(1, create(501), 5)
            assert (await connections.domains(1))[501] is DomainReport.RUNNING
            await connections.call(1, on_domain(501, "suspend"), 5)
            assert (await connections.domains(1))[501] is DomainReport.PAUSED
            await connections.call(1, on_domain(501, "resume"), 5)
            await connections.call(1, on_domain(501, "destroy"), 5)
            await until(lambda: len(recorder.domains) >= 4)
            assert 501 not in await connections.domains(1)
            assert [what for _, vm_id, what in recorder.domains if vm_id == 501] == [
                DomainReport.RUNNING, DomainReport.PAUSED, DomainReport.RUNNING, DomainReport.POWEROFF,
            ]  # fmt: skip
            assert recorder.links == [(1, True, "connected to test:///default")]

    asyncio.run(story())


def test_domains_that_are_not_ours_are_not_reported() -> None:
    async def story() -> None:
        async with watching(mock_host()) as (connections, _):
            names = await connections.call(1, lambda c: [d.name() for d in c.listAllDomains()], 5)
            assert "test" in names
            assert all(isinstance(vm_id, int) for vm_id in await connections.domains(1))

    asyncio.run(story())


def test_an_error_of_libvirt_reaches_the_caller() -> None:
    async def story() -> None:
        async with watching(mock_host()) as (connections, _):
            with pytest.raises(libvirt.libvirtError, match="Domain not found"):
                await connections.call(1, on_domain(599, "destroy"), 5)

    asyncio.run(story())


def test_a_host_that_was_never_watched_or_was_let_go_is_not_called() -> None:
    async def story() -> None:
        async with watching(mock_host()) as (connections, recorder):
            with pytest.raises(NotSent, match="host 2 is not under watch"):
                await connections.domains(2)
            await until(lambda: connections.connected(1))
            connections.forget(1)
            with pytest.raises(NotSent):
                await connections.domains(1)
            assert len(recorder.links) == 1

    asyncio.run(story())


def test_an_open_that_blocks_for_ever_ends_at_our_limit_and_stalls_no_other_host(silent_socket: Path) -> None:
    async def story() -> None:
        blocked = mock_host(2, f"test+unix:///default?socket={silent_socket}")
        async with watching(mock_host(1), blocked) as (connections, recorder):
            started = time.monotonic()
            await connections.domains(1)
            assert time.monotonic() - started < QUICK.open_limit_s
            with pytest.raises(NotSent, match="cannot be reached"):
                await connections.domains(2)
            await until(lambda: any(host_id == 2 and not up for host_id, up, _ in recorder.links))
            assert "did not answer within 1 s" in next(text for host_id, _, text in recorder.links if host_id == 2)

    asyncio.run(story())


def test_attempts_that_hang_do_not_pile_up(silent_socket: Path) -> None:
    async def story() -> None:
        quick = Timing(open_limit_s=0.05, first_retry_s=0.01, last_retry_s=0.01, hanging_opens=3)
        before = threading.active_count()
        async with watching(mock_host(2, f"test+unix:///default?socket={silent_socket}"), timing=quick):
            await asyncio.sleep(1.0)
            assert threading.active_count() - before <= 4

    asyncio.run(story())


def test_the_reason_why_a_host_cannot_be_reached_is_told_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with watching(mock_host(1, f"test+unix:///default?socket={tmp_path}/none")) as (_, recorder):
            await until(lambda: bool(recorder.links))
            await asyncio.sleep(0.5)
            assert len(recorder.links) == 1
            assert not recorder.links[0][1]
            assert "none" in recorder.links[0][2]

    asyncio.run(story())


def test_a_connection_comes_back_after_libvirtd_was_killed(fragile_daemon: SessionDaemon) -> None:
    async def story() -> None:
        async with watching(mock_host(1, fragile_daemon.mock_uri)) as (connections, recorder):
            await connections.domains(1)
            fragile_daemon.kill_daemon()
            await until(lambda: not connections.connected(1))
            fragile_daemon.start()
            await connections.domains(1)
            ups = [up for _, up, _ in recorder.links]
            assert (ups[0], ups[1], ups[-1]) == (True, False, True)

    asyncio.run(story())


def test_keepalive_finds_a_libvirtd_that_hangs_and_a_call_in_flight_has_an_unknown_outcome(
    fragile_daemon: SessionDaemon,
) -> None:
    async def story() -> None:
        async with watching(mock_host(1, fragile_daemon.mock_uri)) as (connections, recorder):
            await connections.domains(1)
            fragile_daemon.freeze()
            with pytest.raises(OutcomeUnknown, match=r"the connection broke during the call.*keepalive"):
                await connections.call(1, create(502), 10)
            await until(lambda: (1, False, "libvirtd does not answer keepalives") in recorder.links)
            fragile_daemon.thaw()
            await until(lambda: connections.connected(1))
            assert isinstance(await connections.domains(1), dict)

    asyncio.run(story())


def test_while_one_call_hangs_no_other_is_sent_over_its_line(fragile_daemon: SessionDaemon) -> None:
    """Two calls over one connection that dies would hang or crash the process."""

    async def story() -> None:
        async with watching(mock_host(1, fragile_daemon.mock_uri)) as (connections, _):
            await connections.domains(1)
            fragile_daemon.freeze()
            with pytest.raises(OutcomeUnknown, match="did not answer in time"):
                await connections.call(1, create(504), 0.3)
            started = time.monotonic()
            with pytest.raises(NotSent, match=r"cannot be reached|no further connection"):
                await connections.domains(1, 30)
            assert time.monotonic() - started < 15, "it must not wait longer than keepalive does"
            fragile_daemon.thaw()
            await until(lambda: connections.connected(1))
            assert isinstance(await connections.domains(1), dict)

    asyncio.run(story())


def test_calls_that_overlap_get_lines_of_their_own(daemon: SessionDaemon) -> None:
    async def story() -> None:
        async with watching(mock_host(1, daemon.mock_uri)) as (connections, _):
            barrier = threading.Barrier(4, timeout=10)

            def meet(connection: Any) -> int:
                barrier.wait()
                return id(connection)

            used = await asyncio.gather(*(connections.call(1, meet, 10) for _ in range(4)))
            assert len(set(used)) == 4

    asyncio.run(story())


def test_a_host_takes_only_a_few_calls_at_once_and_a_late_call_is_never_sent() -> None:
    async def story() -> None:
        release = threading.Event()
        sent: list[int] = []
        async with watching(mock_host(), timing=Timing(calls_at_once=2)) as (connections, _):
            slow = [asyncio.create_task(connections.call(1, lambda _: release.wait(10), 10)) for _ in range(2)]
            await asyncio.sleep(0.1)
            with pytest.raises(NotSent, match="busy"):
                await connections.call(1, lambda _: sent.append(1), 0.2)
            release.set()
            assert await asyncio.gather(*slow) == [True, True]
            await connections.call(1, lambda _: sent.append(2), 5)
            with pytest.raises(NotSent, match="no time"):
                await connections.call(1, lambda _: sent.append(3), 0)
            assert sent == [2]

    asyncio.run(story())


def test_watching_a_host_again_with_another_uri_replaces_its_connection(daemon: SessionDaemon) -> None:
    async def story() -> None:
        async with watching(mock_host()) as (connections, recorder):
            await connections.domains(1)
            connections.watch(mock_host())
            connections.watch(mock_host(1, daemon.mock_uri))
            await connections.domains(1)
            assert [text for _, _, text in recorder.links] == [
                "connected to test:///default",
                f"connected to {daemon.mock_uri}",
            ]

    asyncio.run(story())


def test_an_expected_event_wakes_whoever_waits_for_it() -> None:
    async def story() -> None:
        async with watching(mock_host()) as (connections, _):
            await connections.call(1, create(503), 5)
            with connections.expecting(1, 503) as changed:
                await connections.call(1, on_domain(503, "destroy"), 5)
                async with asyncio.timeout(5):
                    await changed.wait()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("event", "detail", "what"),
    [
        (libvirt.VIR_DOMAIN_EVENT_STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_BOOTED, DomainReport.RUNNING),
        (libvirt.VIR_DOMAIN_EVENT_STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_MIGRATED, None),
        (libvirt.VIR_DOMAIN_EVENT_RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_MIGRATED, DomainReport.RUNNING),
        (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN, DomainReport.POWEROFF),
        (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED, DomainReport.POWEROFF),
        (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED, DomainReport.FAILURE),
        (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_MIGRATED, None),
        (libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_SAVED, None),
        (libvirt.VIR_DOMAIN_EVENT_SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED, DomainReport.PAUSED),
        (libvirt.VIR_DOMAIN_EVENT_SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_IOERROR, DomainReport.FAILURE),
        (libvirt.VIR_DOMAIN_EVENT_SUSPENDED, libvirt.VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED, DomainReport.PAUSED),
        (libvirt.VIR_DOMAIN_EVENT_CRASHED, libvirt.VIR_DOMAIN_EVENT_CRASHED_PANICKED, DomainReport.FAILURE),
        (libvirt.VIR_DOMAIN_EVENT_DEFINED, libvirt.VIR_DOMAIN_EVENT_DEFINED_ADDED, None),
        (libvirt.VIR_DOMAIN_EVENT_SHUTDOWN, libvirt.VIR_DOMAIN_EVENT_SHUTDOWN_FINISHED, None),
    ],
)
def test_lifecycle_events_become_reports(event: int, detail: int, what: DomainReport | None) -> None:
    assert report_of_event(event, detail) is what


@pytest.mark.parametrize(
    ("state", "reason", "what"),
    [
        (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED, DomainReport.RUNNING),
        (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER, DomainReport.PAUSED),
        (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP, DomainReport.RUNNING),
        (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR, DomainReport.FAILURE),
        (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_UNKNOWN, DomainReport.FAILURE),
        (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN, DomainReport.POWEROFF),
        (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_FAILED, DomainReport.FAILURE),
        (libvirt.VIR_DOMAIN_CRASHED, libvirt.VIR_DOMAIN_CRASHED_PANICKED, DomainReport.FAILURE),
        (libvirt.VIR_DOMAIN_NOSTATE, 0, DomainReport.FAILURE),
    ],
)
def test_domain_states_become_reports(state: int, reason: int, what: DomainReport) -> None:
    assert report_of_state(state, reason) is what


def test_only_names_of_our_form_are_vms() -> None:
    assert vm_id_of("one-12") == 12
    assert [vm_id_of(name) for name in ("one-", "one-x", "xone-1", "one-1b", "web")] == [None] * 5
