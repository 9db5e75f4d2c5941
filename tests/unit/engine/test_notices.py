"""What a batch tells about the steps on the way, and the words in which failures are told."""

from __future__ import annotations

from datetime import UTC, timedelta, timezone

from holdfast.engine.events import Answered
from holdfast.engine.messages import ERROR_LIMIT, dated, failure_of, undated
from holdfast.engine.notices import Ended, Moved, Ordered
from holdfast.model.effect import Answer, Effect
from holdfast.model.enums import EffectKind, EffectState
from holdfast.model.vm_states import LcmState, VmState
from tests.unit.engine.rig import Rig
from tests.unit.engine.test_answers import deployed, rig

__all__ = ["rig"]
ACTIVE = VmState.ACTIVE


def test_a_batch_tells_each_step_of_a_vm_in_order(rig: Rig) -> None:
    vm = deployed(rig)
    order = rig.order(EffectKind.TM_PROLOG)
    batch = rig.engine.handle(Answered(order.oid, Answer(ok=True)), rig.now)
    moved = Moved(vm, (ACTIVE, LcmState.PROLOG), (ACTIVE, LcmState.BOOT))
    ended, then, ordered = batch.notices
    assert isinstance(ended, Ended)
    assert (ended.effect.oid, ended.effect.state, then) == (order.oid, EffectState.DONE, moved)
    assert isinstance(ordered, Ordered)
    assert (ordered.effect.kind, ordered.effect.subject) == (EffectKind.VMM_DEPLOY, vm)


def failed(kind: EffectKind, message: str) -> Effect:
    return Effect(1, kind, 7, 0, 0, 0, 1, EffectState.FAILED, message=message)


def test_a_failure_is_told_in_opennebulas_words() -> None:
    assert failure_of(failed(EffectKind.TM_PROLOG, "no space")) == "Error executing image transfer script: no space"
    assert failure_of(failed(EffectKind.VMM_DEPLOY, "no memory")) == "DEPLOY: no memory"
    assert failure_of(failed(EffectKind.VMM_ATTACH_DISK, "")) == "ATTACHDISK: its driver gave no reason"


def test_a_failure_is_one_line_without_secrets_and_not_too_long() -> None:
    said = failure_of(failed(EffectKind.VMM_DEPLOY, "two\nlines, PASSWORD=hunter2\0"))
    assert said == "DEPLOY: two lines, PASSWORD=********"
    assert len(failure_of(failed(EffectKind.VMM_DEPLOY, "x" * 5000))) < ERROR_LIMIT + 10


def test_an_error_is_dated_in_the_zone_of_the_installation() -> None:
    assert dated("DEPLOY: x", 1795336973, UTC) == "Sun Nov 22 08:42:53 2026: DEPLOY: x"
    assert dated("x", 1795336973, timezone(timedelta(hours=2))) == "Sun Nov 22 10:42:53 2026: x"
    assert undated("Sun Nov  1 08:42:53 2026: DEPLOY: x") == "DEPLOY: x"
    assert undated("DEPLOY: x") == "DEPLOY: x"
