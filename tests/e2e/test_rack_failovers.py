"""Failovers of real VMs on the rack while things go wrong: the controller dies, the BMC is dead, daemons crash.

One rack and one controller serve all tests; each test has guests of its own and puts back what it broke.  The judge is
the guests' ledger: one writer at any time, no acknowledged write lost.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest

from holdfast.sandbox.namespaces import not_root
from holdfast.sandbox.rack import BmcMode
from tests.e2e.daemon import BIN, GUIDE_HOOK, until
from tests.e2e.stage import FAILOVER_LIMIT_S, Stage, rack_with_controller

pytestmark = pytest.mark.rack
HOOK = GUIDE_HOOK.replace("-p 5", "-p 1")
QUIET_S = 7.0
"""More than twice the silence after which a host is lost."""
CRASH_LIBVIRTD = r"""set -e
pid=$(pgrep -o -x libvirtd)
tr '\0' '\n' < /proc/$pid/environ > /run/libvirtd.environment
kill -KILL $pid
"""
START_LIBVIRTD = f"""exec < /dev/null >> /run/host/libvirtd.out 2>&1
setsid -f env -i $(cat /run/libvirtd.environment) {" ".join(not_root())} \
  libvirtd --listen --config /run/host/config/libvirt/libvirtd.conf
"""


@pytest.fixture(scope="module")
def built() -> Iterator[Stage]:
    """A rack of three hosts with a controller and the guide's hook."""
    with rack_with_controller() as stage:
        stage.call("one.hook.allocate", HOOK)
        yield stage


@pytest.fixture
def stage(built: Stage) -> Iterator[Stage]:
    """The rack, whole and empty again after each test."""
    yield built
    for name in built.host_ids:
        built.restore(name)
    built.end_all_guests()
    built.call("one.hook.update", 0, HOOK, 0)


def check_restarted_once(stage: Stage, host: str, guests: dict[str, int]) -> None:
    """Every guest was started once more, elsewhere, and its ledger is clean with exactly two boots."""
    for name, vm_id in guests.items():
        state, lcm_state, hosts = stage.vm_at(vm_id)
        assert (state, lcm_state, len(hosts)) == ("3", "3", 2), (name, hosts)
        assert hosts[0] == host != hosts[1]
        assert stage.starts(vm_id) == 2
        read = stage.wait_for_writer(name, 2)
        assert read.ok, read.to_json()


def test_a_controller_killed_twice_during_a_failover_restarts_every_vm_once(stage: Stage) -> None:
    guests = stage.guests("host1", "kill1", "kill2")
    stage.rack.power_off("host1")
    until(lambda: stage.host("host1").findtext("STATE") == "3", FAILOVER_LIMIT_S, "the loss")
    stage.crash()
    until(lambda: under_way(stage, "host1"), FAILOVER_LIMIT_S, "a restart under way")
    stage.crash()
    stage.wait_for_failover("host1", "DONE")
    check_restarted_once(stage, "host1", guests)
    assert len([found for found in stage.failovers("host1") if found.findall("VMS/VM")]) == 1


def under_way(stage: Stage, host: str) -> bool:
    rows = [row.findtext("STATE") for found in stage.failovers(host) for row in found.findall("VMS/VM")]
    return any(state in ("PLACED", "STARTING", "RUNNING") for state in rows)


def test_a_cut_host_with_a_dead_bmc_blocks_until_the_operator_has_pulled_the_plug(stage: Stage) -> None:
    guests = stage.guests("host2", "blocked1")
    stage.call("one.host.update", stage.host_ids["host2"], 'FENCE_TIMEOUT="4"', 1)
    stage.rack.set_bmc("host2", BmcMode.DEAD)
    stage.rack.cut("host2")
    blocked = stage.wait_for_failover("host2", "BLOCKED")
    assert "The fence device does not answer" in blocked.findtext("REASON", "")
    before = stage.ledger("blocked1")
    assert [stage.starts(vm_id) for vm_id in guests.values()] == [1]
    stage.wait_for_writer("blocked1", 1, before.acknowledged + 5)
    stage.rack.power_off("host2")
    failover_id = blocked.findtext("ID", "")
    done = subprocess.run(
        [str(BIN / "onehost"), "failover", "confirm", failover_id, "--yes", "--comment", "pulled the plug"],
        env=stage.controller.environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    proof = stage.wait_for_failover("host2", "DONE").find("PROOFS/PROOF")
    assert proof is not None
    assert (proof.findtext("KIND"), proof.findtext("BY")) == ("OPERATOR", "oneadmin")
    check_restarted_once(stage, "host2", guests)


def test_a_host_that_is_cut_off_for_less_than_the_wait_keeps_its_vms(stage: Stage) -> None:
    guests = stage.guests("host1", "patient")
    stage.call("one.hook.update", 0, HOOK.replace("-p 1", "-p 60"), 0)
    stage.rack.cut("host1")
    stage.wait_for_failover("host1", "WATCHING")
    assert stage.vm_at(guests["patient"])[:2] == ("3", "16")
    stage.rack.heal("host1")
    aborted = stage.wait_for_failover("host1", "ABORTED")
    assert "the host came back" in aborted.findtext("REASON", "")
    acknowledged = stage.ledger("patient").acknowledged
    until(lambda: stage.vm_at(guests["patient"]) == ("3", "3", ["host1"]), what="RUNNING where it was")
    assert stage.starts(guests["patient"]) == 1
    assert stage.wait_for_writer("patient", 1, acknowledged + 10).ok


def test_a_host_that_reboots_at_once_has_lost_its_vms_all_the_same(stage: Stage) -> None:
    guests = stage.guests("host2", "rebooted1", "rebooted2")
    known = len(stage.failovers("host2"))
    stage.rack.power_off("host2")
    stage.rack.power_on("host2")
    until(lambda: len(stage.failovers("host2")) > known, FAILOVER_LIMIT_S, "a failover")
    proof = stage.wait_for_failover("host2", "DONE").find("PROOFS/PROOF")
    assert proof is not None
    assert proof.findtext("KIND") == "REBOOTED"
    for name, vm_id in guests.items():
        assert stage.vm_at(vm_id)[:2] == ("3", "3")
        assert stage.starts(vm_id) == 2
        assert stage.wait_for_writer(name, 2).ok


def test_an_agent_that_dies_on_a_live_host_is_no_dead_host(stage: Stage) -> None:
    guests = stage.guests("host3", "agentless")
    config = stage.rack.host("host3").directory / "agent.json"
    aside = config.with_name("agent.json.aside")
    config.rename(aside)
    try:
        check_left_alone(stage, "host3", guests, "its agent is silent, but its hypervisor answers")
    finally:
        aside.rename(config)
    until(lambda: complaint(stage, "host3") == "", what="no complaint any more")


def test_a_libvirtd_that_crashes_on_a_live_host_is_no_dead_host(stage: Stage) -> None:
    guests = stage.guests("host3", "daemonless")
    stage.on("host3", "sh", "-c", CRASH_LIBVIRTD)
    try:
        check_left_alone(stage, "host3", guests, "libvirtd does not answer on the host; its VMs are left alone")
    finally:
        stage.on("host3", "sh", "-c", START_LIBVIRTD)
    until(lambda: complaint(stage, "host3") == "", what="no complaint any more")
    acknowledged = stage.ledger("daemonless").acknowledged
    assert stage.wait_for_writer("daemonless", 1, acknowledged + 10).ok


def check_left_alone(stage: Stage, host: str, guests: dict[str, int], said: str) -> None:
    """The host stays in service, says what is wrong, and its VMs do not notice."""
    acknowledged = {name: stage.ledger(name).acknowledged for name in guests}
    until(lambda: said in complaint(stage, host), what=f"the complaint that {said}")
    ends = time.monotonic() + QUIET_S
    while time.monotonic() < ends:
        assert (stage.host(host).findtext("STATE"), len(stage.failovers(host))) == ("2", 0)
        time.sleep(0.2)
    for name, vm_id in guests.items():
        assert stage.vm_at(vm_id) == ("3", "3", [host])
        read = stage.wait_for_writer(name, 1, acknowledged[name] + 10)
        assert read.ok, read.to_json()


def complaint(stage: Stage, host: str) -> str:
    return stage.host(host).findtext("TEMPLATE/ERROR", "")
