"""The controller's receiver on real sockets."""

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest

from holdfast.drivers.im.link import DATAGRAMS_PER_WAKEUP, BeaconLink
from holdfast.model.beacon import Ack, BeaconBody, BeaconReport, host_key, seal, unseal_ack

MASTER = b"m" * 32
LIMIT_S = 5.0


@dataclass
class Controller:
    """A link with what it has reported, and a host's socket to talk to it."""

    link: BeaconLink
    reports: list[BeaconReport]
    address: tuple[str, int]
    host: socket.socket
    keys: dict[int, bytes] = field(default_factory=dict)

    def send(self, seq: int, nonce: str | None = None, master: bytes = MASTER, host_id: int = 1, **body: Any) -> bytes:
        said = self.link.nonce if nonce is None else nonce
        fields: dict[str, Any] = {"boot_id": "boot-a", "sent_at": 1.5, "vms": ((3, "RUNNING"),), "hypervisor": "up"}
        datagram = seal(host_key(master, host_id), host_id, seq, BeaconBody(nonce=said, **fields | body))
        self.host.sendto(datagram, self.address)
        return datagram

    async def until(self, condition: Callable[[], bool]) -> None:
        limit_s = time.monotonic() + LIMIT_S
        while not condition():
            assert time.monotonic() < limit_s, f"not in time: {self.link.statistics()}"
            await asyncio.sleep(0.005)

    async def ack(self) -> Ack:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(LIMIT_S):
            return unseal_ack(await loop.sock_recv(self.host, 2048), host_key(MASTER, 1), 1)


def with_controller(test: Callable[[Controller], Coroutine[Any, Any, None]], family: str = "127.0.0.1") -> None:
    async def body() -> None:
        reports: list[BeaconReport] = []
        link = BeaconLink(lambda host_id: host_key(MASTER, host_id) if host_id < 10 else None, reports.append)
        kind = socket.AF_INET6 if ":" in family else socket.AF_INET
        with socket.socket(kind, socket.SOCK_DGRAM) as host:
            host.bind((family, 0))
            host.setblocking(False)
            try:
                await test(Controller(link, reports, link.listen((family, 0)), host))
            finally:
                link.close()

    asyncio.run(body())


@pytest.mark.parametrize("family", ["127.0.0.1", "::1"])
def test_an_authentic_beacon_of_this_session_is_reported(family: str) -> None:
    async def body(controller: Controller) -> None:
        controller.send(5, system={"TOTALCPU": "400"})
        await controller.until(lambda: len(controller.reports) == 1)
        source = f"{family}:{controller.host.getsockname()[1]}"
        expected = BeaconReport(1, "boot-a", 5, 1.5, ((3, "RUNNING"),), "up", {"TOTALCPU": "400"}, source, 0)
        assert controller.reports == [expected]

    with_controller(body, family)


def test_a_replayed_beacon_is_not_reported_and_is_answered_with_the_floor() -> None:
    async def body(controller: Controller) -> None:
        datagram = controller.send(5)
        controller.host.sendto(datagram, controller.address)
        controller.send(4)
        await controller.until(lambda: controller.link.statistics().get("replayed") == 2)
        assert [report.seq for report in controller.reports] == [5]
        assert await controller.ack() == Ack(1, 5, 0, controller.link.nonce, 5)
        assert (await controller.ack()).floor == 5

    with_controller(body)


def test_a_beacon_recorded_in_an_earlier_session_is_not_life() -> None:
    async def body(controller: Controller) -> None:
        controller.send(5, nonce="cd" * 16)
        assert await controller.ack() == Ack(1, 5, 0, controller.link.nonce, 0)
        assert controller.reports == []
        controller.send(6)
        await controller.until(lambda: len(controller.reports) == 1)

    with_controller(body)


def test_strangers_are_counted_by_reason_and_get_no_answer() -> None:
    async def body(controller: Controller) -> None:
        controller.send(1, master=b"another master key")
        controller.send(1, host_id=11)
        for datagram in (b"", b"hello", b"x" * 500, bytes(60_001)):
            controller.host.sendto(datagram, controller.address)
        controller.send(2)
        await controller.until(lambda: len(controller.reports) == 1)
        assert controller.link.statistics() == {
            "bad signature": 1, "unknown host": 1, "truncated": 2, "malformed": 1, "too large": 1, "counts": 1,
        }  # fmt: skip
        with pytest.raises(BlockingIOError):
            controller.host.recv(2048)

    with_controller(body)


def test_a_flood_does_not_keep_the_loop_from_other_work() -> None:
    async def body(controller: Controller) -> None:
        for seq in range(1, 3 * DATAGRAMS_PER_WAKEUP):
            controller.send(seq)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert 0 < len(controller.reports) <= 2 * DATAGRAMS_PER_WAKEUP
        await controller.until(lambda: len(controller.reports) == 3 * DATAGRAMS_PER_WAKEUP - 1)

    with_controller(body)


def test_beacons_are_taken_on_every_network_that_is_listened_on() -> None:
    async def body(controller: Controller) -> None:
        second = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        second.bind(("127.0.0.2", 0))
        controller.send(1)
        controller.address = controller.link.listen(second)
        controller.send(2)
        await controller.until(lambda: len(controller.reports) == 2)

    with_controller(body)


def test_a_forgotten_host_may_begin_again() -> None:
    async def body(controller: Controller) -> None:
        controller.send(100)
        await controller.until(lambda: len(controller.reports) == 1)
        controller.link.forget(1)
        controller.send(1)
        await controller.until(lambda: len(controller.reports) == 2)

    with_controller(body)


def test_each_start_of_the_controller_is_another_session() -> None:
    links = [BeaconLink(lambda _: None, lambda _: None) for _ in range(20)]
    assert len({link.nonce for link in links}) == 20
