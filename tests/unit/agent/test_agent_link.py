"""The agent's sender, against a controller's real link and against somebody who only pretends to be one."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from holdfast.agent.config import Address, AgentConfig
from holdfast.agent.sender import RESENDS_PER_BEACON, SYSTEM_EVERY, BeaconSender, HostState
from holdfast.agent.statelog import StateLog
from holdfast.drivers.im.link import BeaconLink
from holdfast.model.beacon import Ack, Beacon, BeaconReport, seal_ack, unseal

Config = Callable[..., AgentConfig]
LIMIT_S = 5.0
NONCE, OTHER_NONCE = "ab" * 16, "cd" * 16
STATE = HostState(((3, "RUNNING"),), "up", {"TOTALCPU": "400"})


class Impostor:
    """A bound socket in a controller's place: it reads the agent's beacons and answers what a test likes."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(LIMIT_S)
        self.port: int = self.socket.getsockname()[1]
        self.agent: tuple[str, int] = ("", 0)

    def beacon(self) -> Beacon:
        datagram, self.agent = self.socket.recvfrom(65536)
        return unseal(datagram, lambda _: self.key)

    def nothing_more(self) -> bool:
        self.socket.setblocking(False)
        try:
            self.socket.recv(65536)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(LIMIT_S)
        return False

    def say(self, datagram: bytes) -> None:
        self.socket.sendto(datagram, self.agent)

    def ack(self, answered: Beacon, nonce: str = NONCE, floor: int = 0) -> bytes:
        return seal_ack(self.key, Ack(answered.host_id, answered.seq, answered.path, nonce, floor))


@pytest.fixture
def impostor(config_for: Config) -> Iterator[Impostor]:
    impostor = Impostor(config_for().key)
    yield impostor
    impostor.socket.close()


@pytest.fixture
def sender(config_for: Config, impostor: Impostor, log: StateLog) -> Iterator[BeaconSender]:
    sender = BeaconSender(config_for(impostor.port), lambda: STATE, log)
    yield sender
    sender.close()


def take_in(sender: BeaconSender) -> None:
    sender.receive_acks(sender.paths[0])


def test_sequence_numbers_begin_at_the_clock_so_a_restarted_agent_goes_on_above(
    sender: BeaconSender, impostor: Impostor
) -> None:
    sender.send_all()
    sender.send_all()
    first, second = impostor.beacon(), impostor.beacon()
    assert abs(first.seq - time.time() * 1000) < 60_000
    assert second.seq > first.seq


def test_a_new_session_is_learned_and_answered_at_once(sender: BeaconSender, impostor: Impostor) -> None:
    sender.send_all()
    first = impostor.beacon()
    assert first.body.nonce == ""
    impostor.say(impostor.ack(first))
    take_in(sender)
    again = impostor.beacon()
    assert (again.body.nonce, again.seq > first.seq) == (NONCE, True)


def test_the_system_attributes_go_out_first_every_tenth_time_and_to_a_new_session(
    sender: BeaconSender, impostor: Impostor
) -> None:
    for _ in range(SYSTEM_EVERY + 1):
        sender.send_all()
    beacons = [impostor.beacon() for _ in range(SYSTEM_EVERY + 1)]
    with_system = [number for number, beacon in enumerate(beacons) if beacon.body.system == STATE.system]
    assert with_system == [0, SYSTEM_EVERY]
    impostor.say(impostor.ack(beacons[-1]))
    take_in(sender)
    assert impostor.beacon().body.system == STATE.system


def test_the_agent_rises_above_the_controllers_floor(sender: BeaconSender, impostor: Impostor) -> None:
    sender.send_all()
    first = impostor.beacon()
    floor = first.seq + 1_000_000
    impostor.say(impostor.ack(first, floor=floor))
    take_in(sender)
    assert impostor.beacon().seq == floor + 1


def test_a_recorded_ack_cannot_bring_an_old_session_back(sender: BeaconSender, impostor: Impostor) -> None:
    sender.send_all()
    old = impostor.ack(impostor.beacon(), OTHER_NONCE)
    sender.send_all()
    impostor.say(impostor.ack(impostor.beacon()))
    take_in(sender)
    assert impostor.beacon().body.nonce == NONCE
    impostor.say(old)
    take_in(sender)
    sender.send_all()
    assert impostor.beacon().body.nonce == NONCE
    assert impostor.nothing_more()


def test_forged_and_misdirected_acks_are_not_believed(sender: BeaconSender, impostor: Impostor) -> None:
    sender.send_all()
    first = impostor.beacon()
    not_sent_yet = Ack(1, first.seq + 1, 0, NONCE, 0)
    for wrong in (
        seal_ack(b"another key", Ack(1, first.seq, 0, NONCE, 0)),
        seal_ack(impostor.key, Ack(2, first.seq, 0, NONCE, 0)),
        seal_ack(impostor.key, Ack(1, first.seq, 1, NONCE, 0)),
        seal_ack(impostor.key, not_sent_yet),
        b"",
        b"x" * 1000,
    ):
        impostor.say(wrong)
    take_in(sender)
    assert impostor.nothing_more()
    sender.send_all()
    assert impostor.beacon().body.nonce == ""


def test_two_controllers_behind_one_address_do_not_drive_the_agent_round_and_round(
    sender: BeaconSender, impostor: Impostor
) -> None:
    sender.send_all()
    answered = impostor.beacon()
    for turn in range(RESENDS_PER_BEACON):
        impostor.say(impostor.ack(answered, NONCE if turn % 2 else OTHER_NONCE))
        take_in(sender)
        answered = impostor.beacon()
    impostor.say(impostor.ack(answered, "ef" * 16))
    take_in(sender)
    assert impostor.nothing_more()
    sender.send_all()
    assert impostor.beacon().body.nonce == "ef" * 16


def test_a_network_that_is_down_does_not_hold_up_the_others(
    config_for: Config, impostor: Impostor, log: StateLog
) -> None:
    may_not_broadcast = Address(0, "255.255.255.255", 9)
    config = config_for(controllers=(may_not_broadcast, Address(1, "127.0.0.1", impostor.port)))
    sender = BeaconSender(config, lambda: STATE, log)
    for _ in range(3):
        sender.send_all()
    assert [impostor.beacon().path for _ in range(3)] == [1, 1, 1]
    sender.close()


def test_a_restarted_controller_hears_the_agent_after_one_round_trip(config_for: Config, log: StateLog) -> None:
    async def body(closing: contextlib.ExitStack) -> None:
        reports: list[BeaconReport] = []
        key = config_for().key
        first, second = BeaconLink(lambda _: key, reports.append), BeaconLink(lambda _: key, reports.append)
        closing.callback(first.close)
        closing.callback(second.close)
        _, port = first.listen(("127.0.0.1", 0))
        sender = BeaconSender(config_for(port), lambda: STATE, log)
        closing.callback(sender.close)
        loop = asyncio.get_running_loop()
        loop.add_reader(sender.paths[0].socket, take_in, sender)
        sender.send_all()
        await _count(reports, 1)
        first.close()
        second.listen(("127.0.0.1", port))
        sender.send_all()
        await _count(reports, 2)
        assert second.statistics() == {"other session": 1, "acks": 1, "counts": 1}
        assert reports[1].seq > reports[0].seq
        loop.remove_reader(sender.paths[0].socket)

    with contextlib.ExitStack() as closing:
        asyncio.run(body(closing))


async def _count(reports: list[BeaconReport], number: int) -> None:
    async with asyncio.timeout(LIMIT_S):
        while len(reports) < number:
            await asyncio.sleep(0.005)
