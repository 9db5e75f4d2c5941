"""Routes the answers of drivers to what waits for them.  An answer to a closed effect changes nothing."""

from __future__ import annotations

from dataclasses import replace

from holdfast.engine import cloning, failover_work, repair_work
from holdfast.engine.image_work import drop_from_datastore, end_clone
from holdfast.engine.messages import failure_of
from holdfast.engine.vm_work import (
    STARTS,
    facts_of,
    happen_if_possible,
    left_on_the_way,
    lost_with_its_host,
    with_error,
)
from holdfast.engine.work import Work
from holdfast.lifecycle.events import ANSWERS
from holdfast.model.effect import Answer, Effect
from holdfast.model.enums import EffectKind, EffectState
from holdfast.model.errors import ActionError
from holdfast.model.hook import Hook, HookExecution
from holdfast.model.storage import Datastore, Image
from holdfast.model.vm import Vm

_FENCE = (EffectKind.FENCE_OFF, EffectKind.FENCE_STATUS)
_IMAGE = (EffectKind.IMAGE_CREATE, EffectKind.IMAGE_CLONE, EffectKind.IMAGE_DELETE)


def answered(work: Work, effect_id: int, answer: Answer) -> None:
    """A driver answers an effect."""
    effect = work.find(Effect, effect_id)
    if effect is None or not effect.state.is_open:
        return
    work.close(effect_id, EffectState.DONE if answer.ok else EffectState.FAILED, answer.message)
    if effect.kind in _FENCE:
        failover_work.device_answered(work, effect, answer)
    elif effect.kind in _IMAGE:
        _image(work, effect, answer)
    elif effect.kind is EffectKind.HOOK:
        _hook(work, effect, answer)
    elif effect.kind is EffectKind.TM_LINE:
        repair_work.answered(work, effect, answer)
    else:
        _vm(work, effect, answer)


def expired(work: Work, effect_id: int) -> None:
    """A driver stayed silent: that is a failure, and nothing is certain."""
    effect = work.find(Effect, effect_id)
    if effect is not None:
        said = f"no answer within {effect.deadline - effect.planned_at:.0f} s"
        step = "" if effect.kind.value.startswith(("tm.", "vmm.")) else f"{effect.kind.value}: "
        answered(work, effect_id, Answer(False, f"{step}{said}", certain=False))


def _vm(work: Work, effect: Effect, answer: Answer) -> None:
    vm = work.find(Vm, effect.subject)
    if vm is None:
        return
    stuck = "" if answer.ok else left_on_the_way(work, vm)
    message = f"{answer.message}; {stuck}" if stuck else answer.message
    said = "" if answer.ok else failure_of(replace(effect, message=message))
    if vm.effect_id != effect.oid:
        if not answer.ok and effect.kind in (EffectKind.VMM_REBOOT, EffectKind.VMM_RESET):
            with_error(work, vm, said)
        return
    vm = replace(vm, effect_id=-1)
    work.draft.put(vm)
    vm = with_error(work, vm, said)
    succeeded, failed = ANSWERS[effect.kind]
    facts = facts_of(
        work,
        vm,
        certain=_is_certain(effect, answer),
        order_hids=_hosts_of(effect),
        values=answer.values,
        deploy_id=answer.values.get("DEPLOY_ID", ""),
    )
    try:
        after = happen_if_possible(work, vm, succeeded if answer.ok else failed, facts)
    except ActionError as refusal:
        # the next step is not possible now: the step has failed, whatever its driver says
        vm = with_error(work, vm, refusal.message)
        after = happen_if_possible(work, vm, failed, replace(facts, certain=False))
    lost_with_its_host(work, after)


def _hosts_of(effect: Effect) -> tuple[int, ...]:
    """The hosts that the order was about; of a live migration it is the table that knows which one is which."""
    other = int(effect.args.get("OTHER_HID", "-1"))
    if effect.kind is EffectKind.VMM_CLEANUP and other >= 0:
        return (effect.host_id, other)
    return (effect.host_id,)


def _is_certain(effect: Effect, answer: Answer) -> bool:
    """Whether the answer settles that no domain is there (or that one is).

    A clean-up that failed, however certainly, leaves the domain where it was; and a start that failed says nothing of
    a domain that may have been there before, unless the driver has seen that there is none.
    """
    if answer.ok or not answer.certain:
        return answer.certain
    if effect.kind in STARTS and effect.args.get("AGAIN") == "YES":
        return answer.values.get("ABSENT") == "YES"
    return effect.kind is not EffectKind.VMM_CLEANUP


def _image(work: Work, effect: Effect, answer: Answer) -> None:
    image = work.find(Image, effect.subject)
    if image is None or image.effect_id != effect.oid:
        return
    image = replace(image, effect_id=-1)
    if effect.kind is EffectKind.IMAGE_CLONE:
        end_clone(work, image)
    if effect.kind is EffectKind.IMAGE_DELETE and answer.ok:
        drop_from_datastore(work, image)
    elif not answer.ok:
        template = image.template.with_values(ERROR=answer.message)
        cloning.image_failed(work, replace(image, template=template))
    else:
        size_mb = int(answer.values.get("SIZE") or image.size_mb)
        found = answer.values.get("FORMAT") or image.format
        ready = replace(image, size_mb=size_mb, format=found, cloning_id=-1)
        cloning.image_ready(work, ready)
        datastore = work.find(Datastore, image.datastore_id)
        if datastore is not None and image.oid not in datastore.images:
            work.draft.put(replace(datastore, images=(*datastore.images, image.oid)))


def _hook(work: Work, effect: Effect, answer: Answer) -> None:
    hook = work.find(Hook, effect.subject)
    if hook is None:
        return
    values = answer.values
    work.draft.log(
        HookExecution(
            hook.oid,
            hook.next_execution,
            work.second,
            effect.args.get("ARGUMENTS", ""),
            values.get("COMMAND", hook.template.get("COMMAND")),
            values.get("STDOUT", ""),
            values.get("STDERR", ""),
            int(values.get("CODE", "255")),
            effect.args.get("REMOTE_HOST", ""),
            effect.args.get("RETRY") == "YES",
        )
    )
    work.draft.put(replace(hook, next_execution=hook.next_execution + 1))
