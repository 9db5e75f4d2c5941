"""The whole life of one real VM: every way of leaving a host and of coming back, with a guest that writes all the time.

The judge is the guest's ledger: one writer at any time, no acknowledged write lost.  Where the guest's memory is kept
(suspend, stop, live and saved migration) the same boot goes on; where it is not, another one begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element

import pytest

from holdfast.sandbox.ledger import Ledger
from tests.e2e.daemon import until
from tests.e2e.stage import Stage, rack_with_controller

pytestmark = pytest.mark.rack
STEP_LIMIT_S = 90.0
NAME = "traveller"
RUNNING = ("3", "3")
SUSPENDED = ("5", "0")
STOPPED = ("4", "0")
UNDEPLOYED = ("9", "0")
POWEROFF = ("8", "0")
DONE = ("6", "0")


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """A rack of three hosts with a controller."""
    with rack_with_controller() as built:
        yield built
        built.end_all_guests()


class Traveller:
    """One VM on its way."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.vm_id = stage.guests("host1", NAME)[NAME]
        self.boots = 1

    def info(self) -> Element:
        """What the API says."""
        return self.stage.xml("one.vm.info", self.vm_id)

    def act(self, action: str, state: tuple[str, str]) -> None:
        """``one.vm.action``, until the VM is there."""
        self.stage.call("one.vm.action", action, self.vm_id)
        self.reach(state)

    def reach(self, state: tuple[str, str]) -> None:
        """Waits until the VM is in this state."""

        def look() -> bool:
            info = self.info()
            error = info.findtext("USER_TEMPLATE/ERROR", "")
            assert not error, error
            return (info.findtext("STATE", ""), info.findtext("LCM_STATE", "")) == state

        until(look, STEP_LIMIT_S, f"VM {self.vm_id} in state {state}")

    def deploy(self, host: str) -> None:
        """On this host."""
        self.stage.call("one.vm.deploy", self.vm_id, self.stage.host_ids[host], False, -1, "")
        self.reach(RUNNING)

    def migrate(self, host: str, live: bool = False, kind: int = 0) -> None:
        """To this host."""
        self.stage.call("one.vm.migrate", self.vm_id, self.stage.host_ids[host], live, False, -1, kind)
        self.reach(RUNNING)

    def writes_on(self, host: str, new_boot: bool) -> Ledger:
        """The guest goes on writing on this host, in the same boot or in a new one."""
        written = self.stage.ledger(NAME).writers[-1].acknowledged
        self.boots += new_boot
        read = self.stage.wait_for_writer(NAME, self.boots, 5 if new_boot else written + 5)
        assert read.ok, read.to_json()
        assert self.stage.vm_at(self.vm_id)[2][-1] == host
        return read


def test_a_vm_travels_through_every_way_of_stopping_and_moving_and_loses_nothing(stage: Stage) -> None:
    vm = Traveller(stage)
    vm.act("suspend", SUSPENDED)
    vm.act("resume", RUNNING)
    vm.writes_on("host1", new_boot=False)
    vm.act("stop", STOPPED)
    vm.deploy("host2")
    vm.writes_on("host2", new_boot=False)
    vm.act("undeploy", UNDEPLOYED)
    vm.deploy("host3")
    vm.writes_on("host3", new_boot=True)
    vm.migrate("host1", live=True)
    vm.writes_on("host1", new_boot=False)
    vm.migrate("host2")
    vm.writes_on("host2", new_boot=False)
    vm.migrate("host3", kind=1)
    vm.writes_on("host3", new_boot=True)
    vm.act("poweroff", POWEROFF)
    vm.act("resume", RUNNING)
    read = vm.writes_on("host3", new_boot=True)
    vm.stage.call("one.vm.action", "terminate", vm.vm_id)
    vm.reach(DONE)
    assert read.ok, read.to_json()
    records = vm.info().findall("HISTORY_RECORDS/HISTORY")
    assert [record.findtext("SEQ") for record in records] == [str(number) for number in range(len(records))]
    assert all(record.findtext("ETIME") != "0" for record in records)
    for host in stage.host_ids:
        assert stage.host(host).find("VMS/ID") is None
