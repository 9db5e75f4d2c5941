"""The VMM driver without hypervisor: scripts, wishes of the VM, hosts that die, and doubles that are never missed."""

from __future__ import annotations

import asyncio
import time

import pytest

from holdfast.drivers.vmm.dummy import DummyDriver, Ending, Outcome, Script
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from tests.unit.vmm.objects import BASIC, a_host, a_vm, an_order

DEPLOY = EffectKind.VMM_DEPLOY


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
