"""A controller with much to do: it stores in portions, and accuses nobody whose beacons wait to be read."""

from __future__ import annotations

import asyncio
import gc
import socket
import weakref

from holdfast.drivers.im.link import DATAGRAMS_PER_WAKEUP, BeaconLink
from holdfast.engine import commands as c
from holdfast.engine.engine import Batch, Engine
from holdfast.engine.ports import Snapshot
from holdfast.engine.settings import Settings
from holdfast.failover.detection import Detector, Patience
from holdfast.model.beacon import BeaconBody, BeaconReport, host_key, seal
from holdfast.serve.bootstrap import loading
from holdfast.serve.controller import CHANGES_LIMIT, Controller
from holdfast.store.memory import MemoryStore
from tests.unit.engine.rig import ONEADMIN, NoHooks

LIMIT_S = 20.0
KEY = host_key(b"m" * 32, 1)


def test_much_that_arrives_together_is_stored_in_portions_and_all_of_it_is_answered_in_order() -> None:
    async def scenario() -> None:
        published: list[Batch] = []
        controller = Controller(Engine(MemoryStore(), Settings(), NoHooks(), 0.0), published.append, lambda hosts: None)
        names = [f"h{number}" for number in range(3 * CHANGES_LIMIT)]
        calls = [asyncio.create_task(controller.call(ONEADMIN, c.AllocateHost(name, "qemu", "qemu"))) for name in names]
        await asyncio.sleep(0)
        task = asyncio.create_task(controller.run())
        async with asyncio.timeout(LIMIT_S):
            assert await asyncio.gather(*calls) == list(range(len(names)))
        task.cancel()
        await asyncio.wait({task})
        controller.close()
        sizes = [len(batch.changes.puts) for batch in published]
        assert sum(sizes) == len(names)
        assert max(sizes) == CHANGES_LIMIT

    asyncio.run(scenario())


def test_beacons_that_wait_in_the_socket_are_heard_before_anybody_is_judged() -> None:
    """The clock is the test's: ten seconds pass while the loop is busy, and the beacons of that time have arrived."""

    async def scenario() -> None:
        clock = [1000.0]
        heard: list[BeaconReport] = []
        engine = Engine(MemoryStore(), Settings(), NoHooks(), clock[0])
        link = BeaconLink(lambda host_id: KEY, heard.append, "ab" * 16)
        caught_up: list[int] = []

        def catch_up() -> None:
            link.catch_up()
            caught_up.append(len(heard))

        controller = Controller(engine, lambda batch: None, lambda hosts: None, lambda: clock[0], catch_up)
        address = link.listen(("127.0.0.1", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent:
            for seq in range(1, DATAGRAMS_PER_WAKEUP + 50):
                agent.sendto(seal(KEY, 1, seq, BeaconBody("boot", "ab" * 16, 1.0, (), "up")), address)
            task = asyncio.create_task(controller.run())
            async with asyncio.timeout(LIMIT_S):
                while not caught_up:
                    await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
        controller.close()
        link.close()
        assert caught_up[0] == DATAGRAMS_PER_WAKEUP + 49, "all of them, not only what one wake-up takes"

    asyncio.run(scenario())


def test_the_time_that_loading_takes_is_nobodys_silence() -> None:
    detector = Detector(Patience())
    detector.watch(1, 1000.0, "boot")
    detector.begin(1060.0)
    assert detector.look(1060.25).silent == []
    assert detector.look(1061.0).silent == []
    assert detector.look(1062.0).suspects == [1]
    assert detector.look(1063.0).silent == [1]


def test_what_was_loaded_is_freed_when_it_is_replaced_although_it_is_not_collected() -> None:
    class Marked(Snapshot):
        """A snapshot that can be watched."""

    with loading():
        kept = [Marked(1)]
    watched = weakref.ref(kept[0])
    assert gc.isenabled()
    kept.clear()
    assert watched() is None
