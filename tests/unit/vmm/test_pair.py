"""A call over two connections, against libvirt's mock hypervisor: neither line is lost, whatever happens."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import libvirt
import pytest

from holdfast.drivers.vmm.line import OutcomeUnknown
from holdfast.drivers.vmm.line_pool import NotSent
from holdfast.drivers.vmm.pair import call_both
from tests.unit.vmm.listening import QUICK, until, watching
from tests.unit.vmm.objects import a_host

MOCK = 'LIBVIRT_URI="test:///default"'


def parked() -> int:
    """Threads that hold a line for somebody."""
    return sum(thread.name.startswith("libvirt-call") for thread in threading.enumerate())


def test_the_work_gets_both_connections_and_both_come_back() -> None:
    async def story() -> None:
        async with watching(a_host(1, MOCK), a_host(2, MOCK), timing=QUICK) as (connections, _):

            def work(first: Any, second: Any) -> tuple[str, str, bool]:
                return first.getURI(), second.getURI(), first is second

            for _ in range(6):
                assert await call_both(connections, 1, 2, work, 5) == ("test:///default", "test:///default", False)
            await until(lambda: parked() == 0)

    asyncio.run(story())


def test_calls_in_opposite_directions_never_wait_for_each_other() -> None:
    async def story() -> None:
        async with watching(a_host(1, MOCK), a_host(2, MOCK), timing=QUICK) as (connections, _):
            pause = threading.Event()
            pairs = [(1, 2), (2, 1)] * (QUICK.calls_at_once * 2)
            calls = (call_both(connections, first, second, lambda *_: pause.wait(0.02), 10) for first, second in pairs)
            assert set(await asyncio.gather(*calls)) == {False}
            await until(lambda: parked() == 0)

    asyncio.run(story())


def test_each_connection_is_the_one_to_its_host() -> None:
    async def story() -> None:
        async with watching(a_host(1, MOCK), a_host(2, MOCK), timing=QUICK) as (connections, _):
            name = "<domain type='test'><name>one-99</name><memory>1</memory><os><type>hvm</type></os></domain>"
            await connections.call(2, lambda connection: connection.createXML(name) and None, 5)
            there = [
                await call_both(connections, *pair, lambda *both: [one.numOfDomains() for one in both], 5)
                for pair in ((1, 2), (2, 1))
            ]
            assert there[0] == there[1][::-1]

    asyncio.run(story())


def test_what_the_work_raises_is_raised_and_nobody_stays_parked() -> None:
    async def story() -> None:
        async with watching(a_host(1, MOCK), a_host(2, MOCK), timing=QUICK) as (connections, _):

            def work(first: Any, _second: Any) -> None:
                first.lookupByName("nobody")

            with pytest.raises(libvirt.libvirtError, match="Domain not found"):
                await call_both(connections, 1, 2, work, 5)
            await until(lambda: parked() == 0)

    asyncio.run(story())


@pytest.mark.parametrize(("first", "second"), [(1, 9), (9, 1)])
def test_a_host_that_cannot_be_asked_means_that_nothing_was_sent(first: int, second: int) -> None:
    async def story() -> None:
        async with watching(a_host(1, MOCK), timing=QUICK) as (connections, _):
            with pytest.raises(NotSent, match="host 9"):
                await call_both(connections, first, second, lambda *_: None, 2)
            await until(lambda: parked() == 0)

    asyncio.run(story())


def test_work_that_outlives_its_limit_keeps_both_lines_until_it_ends() -> None:
    async def story() -> None:
        async with watching(a_host(1, MOCK), a_host(2, MOCK), timing=QUICK) as (connections, _):
            end = threading.Event()
            with pytest.raises(OutcomeUnknown):
                await call_both(connections, 1, 2, lambda *_: end.wait(10), 0.5)
            assert parked() == 2
            assert await connections.domains(1) is not None, "others are not held up"
            end.set()
            await until(lambda: parked() == 0)

    asyncio.run(story())


def test_however_many_long_calls_there_are_looking_at_the_host_is_possible() -> None:
    async def story() -> None:
        async with watching(a_host(1, MOCK), timing=QUICK) as (connections, _):
            end = threading.Event()
            calls = [
                asyncio.create_task(connections.call(1, lambda _: end.wait(10), 10, long=True))
                for _ in range(QUICK.calls_at_once + 2)
            ]
            await until(lambda: parked() == QUICK.calls_at_once)
            assert await connections.domains(1, 2) is not None
            end.set()
            assert all(await asyncio.gather(*calls))

    asyncio.run(story())
