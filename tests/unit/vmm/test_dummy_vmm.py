"""The VMM driver without hypervisor: scripts, wishes of the VM, hosts that die, and doubles that are never missed."""

from __future__ import annotations

import asyncio
import dataclasses
import time

import pytest

from holdfast.drivers.vmm.dummy import DummyDriver, Ending, Outcome, Script
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from tests.unit.vmm.objects import BASIC, a_host, a_vm, an_order

DEPLOY = EffectKind.VMM_DEPLOY
STARTS = (DEPLOY, EffectKind.VMM_RESTORE)


def run(driver: DummyDriver, kind: EffectKind, hid: int = 1, limit_s: float = 5, user: str = "") -> Answer:
    """One order for VM 7."""
    return asyncio.run(driver.run(an_order(kind, a_vm(user=user), a_host(hid), limit_s)))


def test_deploy_and_cancel_move_the_vm_in_and_out() -> None:
    driver = DummyDriver()
    assert run(driver, DEPLOY) == Answer(ok=True, values={"DEPLOY_ID": "one-7"})
    assert driver.hosts_of(7) == {1}
    assert run(driver, EffectKind.VMM_RESET).ok
    assert run(driver, EffectKind.VMM_CANCEL).ok
    assert driver.hosts_of(7) == set()
    assert not run(driver, EffectKind.VMM_REBOOT).ok


def test_a_vm_that_runs_twice_is_noted_for_ever() -> None:
    driver = DummyDriver()
    run(driver, DEPLOY, 1)
    run(driver, DEPLOY, 1)
    assert driver.doubles == []
    run(driver, DEPLOY, 2)
    run(driver, EffectKind.VMM_CANCEL, 1)
    assert driver.doubles == [(7, frozenset({1, 2}))]


def test_a_script_is_followed_order_by_order() -> None:
    script = Script({DEPLOY: [Outcome(Ending.FAILURE, "no memory"), Outcome(delay_s=0.1)]})
    driver = DummyDriver(script)
    assert run(driver, DEPLOY) == Answer(ok=False, message="no memory")
    assert driver.hosts_of(7) == set()
    started = time.monotonic()
    assert run(driver, DEPLOY).ok
    assert time.monotonic() - started >= 0.1
    assert run(driver, DEPLOY).ok


@pytest.mark.parametrize("happens", [False, True])
def test_silence_lasts_until_the_deadline_and_is_uncertain(happens: bool) -> None:
    driver = DummyDriver(Script(otherwise=Outcome(Ending.SILENCE, happens=happens)))
    started = time.monotonic()
    answer = run(driver, DEPLOY, limit_s=0.2)
    assert (answer.ok, answer.certain) == (False, False)
    assert 0.15 <= time.monotonic() - started < 2
    assert driver.hosts_of(7) == ({1} if happens else set())


def test_a_vm_can_ask_for_failure_and_delay() -> None:
    driver = DummyDriver()
    assert not run(driver, DEPLOY, user='DUMMY_FAIL="cancel, Deploy"').ok
    assert run(driver, EffectKind.VMM_SHUTDOWN, user='DUMMY_FAIL="deploy"').ok
    assert not run(driver, DEPLOY, user="DUMMY_DELAY_S=9", limit_s=0.1).certain


def test_a_dead_host_forgets_its_vms_and_a_cut_one_keeps_them() -> None:
    driver = DummyDriver()
    run(driver, DEPLOY, 1)
    driver.cut(1)
    assert not run(driver, EffectKind.VMM_CANCEL, 1, 0.1).certain
    assert driver.hosts_of(7) == {1}
    driver.power_off(1)
    assert driver.hosts_of(7) == set()
    driver.heal(1)
    assert run(driver, DEPLOY, 1).ok
    assert len(driver.orders) == 3


def test_probes_tell_what_was_done() -> None:
    driver = DummyDriver()

    def probe(kind: EffectKind) -> Answer | None:
        return asyncio.run(driver.probe(an_order(kind, a_vm(text=BASIC), a_host())))

    assert probe(DEPLOY) is None
    assert probe(EffectKind.VMM_CANCEL) == Answer(ok=True)
    run(driver, DEPLOY)
    assert probe(DEPLOY) == Answer(ok=True, values={"DEPLOY_ID": "one-7"})
    assert probe(EffectKind.VMM_SHUTDOWN) is None
    assert probe(EffectKind.VMM_RESET) == Answer(ok=True)
    driver.cut(1)
    assert probe(DEPLOY) is None


def move(driver: DummyDriver, source: int, destination: int, limit_s: float = 5) -> Answer:
    """A live migration of VM 7."""
    order = an_order(EffectKind.VMM_MIGRATE, a_vm(), a_host(source), limit_s)
    return asyncio.run(driver.run(dataclasses.replace(order, other=a_host(destination))))


def test_a_saved_vm_is_gone_and_its_memory_is_there_once() -> None:
    driver = DummyDriver()
    run(driver, DEPLOY)
    assert run(driver, EffectKind.VMM_SAVE).ok
    assert (driver.hosts_of(7), driver.saved) == (set(), {7})
    assert run(driver, EffectKind.VMM_SAVE).ok
    assert run(driver, EffectKind.VMM_RESTORE, 2) == Answer(ok=True, values={"DEPLOY_ID": "one-7"})
    assert (driver.hosts_of(7), driver.saved) == ({2}, set())
    assert run(driver, EffectKind.VMM_RESTORE, 2).ok
    assert run(driver, EffectKind.VMM_CANCEL, 2).ok
    assert "no checkpoint" in run(driver, EffectKind.VMM_RESTORE, 2).message
    assert driver.doubles == []


def test_a_migrated_vm_is_never_a_double_unless_it_runs_on_a_third_host() -> None:
    driver = DummyDriver()
    run(driver, DEPLOY, 1)
    assert move(driver, 1, 2).ok
    assert (driver.hosts_of(7), driver.doubles) == ({2}, [])
    assert move(driver, 1, 2).ok, "repeated, it finds the VM where it shall be"
    driver.cut(3)
    assert not move(driver, 2, 3, 0.1).certain
    assert driver.hosts_of(7) == {2}
    driver.running[4] = {7}
    move(driver, 2, 1)
    assert driver.doubles == [(7, frozenset({1, 4}))]


@pytest.mark.parametrize("kind", [kind for kind in EffectKind if kind.value.startswith("vmm.") and kind not in STARTS])
def test_after_a_restart_an_order_for_a_vm_it_has_not_heard_of_is_believed(kind: EffectKind) -> None:
    order = dataclasses.replace(an_order(kind, a_vm(), a_host(1), args={"ITEM": "3"}), other=a_host(2))
    answer = asyncio.run(DummyDriver().run(order))
    assert answer.ok is (kind not in (EffectKind.VMM_BACKUP, EffectKind.VMM_UPDATE_CONF))
    if kind is EffectKind.VMM_SNAPSHOT_CREATE:
        assert answer.values == {"HYPERVISOR_ID": "snap-3"}


def test_an_operation_on_a_vm_that_does_not_run_fails() -> None:
    driver = DummyDriver()
    run(driver, DEPLOY, 1)
    assert not run(driver, EffectKind.VMM_ATTACH_DISK, 2).ok
    assert not run(driver, EffectKind.VMM_ATTACH_NIC, 1, user="DUMMY_FAIL=attach_nic").ok
    assert run(driver, EffectKind.VMM_ATTACH_NIC, 1).ok


def test_a_clean_up_looks_at_both_hosts() -> None:
    driver = DummyDriver()
    run(driver, DEPLOY, 2)
    order = dataclasses.replace(an_order(EffectKind.VMM_CLEANUP, a_vm(), a_host(1)), other=a_host(2))
    assert asyncio.run(driver.probe(order)) is None
    assert asyncio.run(driver.run(order)).ok
    assert asyncio.run(driver.probe(order)) == Answer(ok=True)
    assert driver.hosts_of(7) == set()


@pytest.mark.parametrize("kind", [EffectKind.VMM_SAVE, EffectKind.VMM_CANCEL, EffectKind.VMM_SHUTDOWN])
def test_the_first_leg_of_a_move_is_about_its_source_only(kind: EffectKind) -> None:
    driver = DummyDriver()
    run(driver, DEPLOY, 1)
    driver.running[2] = {7}
    driver.cut(2)
    order = dataclasses.replace(an_order(kind, a_vm(), a_host(1)), other=a_host(2))
    assert asyncio.run(driver.run(order)).ok
    assert driver.hosts_of(7) == {2}
    assert asyncio.run(driver.probe(order)) == Answer(ok=True)
