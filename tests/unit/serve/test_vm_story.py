"""Notices of the engine become lines of the VMs' logs, as OpenNebula words them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from holdfast.engine.notices import Ended, Moved, Notice, Ordered
from holdfast.lifecycle import positions as p
from holdfast.model.effect import Effect
from holdfast.model.enums import EffectKind, EffectState
from holdfast.serve.vm_story import lines_of
from tests.unit.vmm.objects import a_stay, a_vm


def effect(kind: EffectKind, state: EffectState = EffectState.DONE, message: str = "") -> Effect:
    return Effect(1, kind, 7, 0, 0.0, 0.0, 1, state, message=message)


def told(*notices: Notice, vm_mad: str = "dummy") -> list[str]:
    vm = a_vm(7, "", (a_stay(1, 0), replace(a_stay(2, 1), vm_mad=vm_mad)))
    lines = list(lines_of(notices, {7: vm}, Path("/var/lib/one/vms")))
    assert {line.vm_id for line in lines} <= {7}
    return [f"[{line.module}][{line.severity}]: {line.text}" for line in lines]


def test_the_life_of_a_vm_that_cannot_boot_is_told_as_opennebula_tells_it() -> None:
    deploy = effect(EffectKind.VMM_DEPLOY)
    assert told(
        Moved(7, p.PENDING, p.PROLOG),
        Ended(effect(EffectKind.TM_PROLOG)),
        Moved(7, p.PROLOG, p.BOOT),
        Ordered(deploy),
        Ended(effect(EffectKind.VMM_DEPLOY, EffectState.FAILED, "s4:withdisk:dummy")),
        Moved(7, p.BOOT, p.BOOT_FAILURE),
        Moved(7, p.BOOT_FAILURE, p.CLEANUP_DELETE),
        Ended(effect(EffectKind.VMM_CLEANUP, EffectState.SUPERSEDED)),
        Moved(7, p.CLEANUP_DELETE, p.DONE),
    ) == [
        "[VM][I]: New state is ACTIVE",
        "[VM][I]: New LCM state is PROLOG",
        "[VM][I]: New LCM state is BOOT",
        "[VMM][I]: Generating deployment file: /var/lib/one/vms/7/deployment.1",
        "[VMM][E]: DEPLOY: s4:withdisk:dummy",
        "[VM][I]: New LCM state is BOOT_FAILURE",
        "[VM][I]: New state is ACTIVE",
        "[VM][I]: New LCM state is CLEANUP_DELETE",
        "[VMM][I]: Driver command for 7 cancelled",
        "[VM][I]: New state is DONE",
        "[VM][I]: New LCM state is LCM_INIT",
    ]


def test_a_transfer_that_failed_says_why_before_the_state_changes() -> None:
    assert told(
        Ended(effect(EffectKind.TM_PROLOG, EffectState.FAILED, "simflag failure in clone")),
        Moved(7, p.PROLOG, p.PROLOG_FAILURE),
    ) == [
        "[TrM][E]: Error executing image transfer script: simflag failure in clone",
        "[VM][I]: New LCM state is PROLOG_FAILURE",
    ]


def test_the_hypervisors_driver_tells_what_it_did_except_the_dummy() -> None:
    done, refused = effect(EffectKind.VMM_ATTACH_DISK), effect(EffectKind.VMM_DEPLOY, EffectState.FAILED, "no memory")
    assert told(Ended(done), Ended(refused), vm_mad="kvm") == [
        "[VMM][I]: Successfully execute virtualization driver operation: attach_disk.",
        "[VMM][I]: Failed to execute virtualization driver operation: deploy.",
        "[VMM][E]: DEPLOY: no memory",
    ]
    assert told(Ended(done), Ended(refused)) == ["[VMM][E]: DEPLOY: no memory"]


def test_what_an_answer_says_is_told() -> None:
    assert told(Ended(effect(EffectKind.TM_PROLOG, message="all files are there"))) == ["[TrM][I]: all files are there"]
    assert told(Ended(effect(EffectKind.VMM_CLEANUP))) == ["[VMM][I]: Host successfully cleaned."]
    assert told(Ended(effect(EffectKind.VMM_RESET))) == ["[VMM][I]: VM successfully rebooted."]


def test_effects_that_are_no_vms_do_not_end_in_the_log_of_one() -> None:
    others = (EffectKind.HOOK, EffectKind.FENCE_OFF, EffectKind.IMAGE_CREATE)
    assert told(*(Ended(effect(kind, EffectState.FAILED, "x")) for kind in others)) == []
