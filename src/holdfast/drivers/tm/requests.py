"""Reads an effect: which step of which VM a TM effect asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from holdfast.drivers.tm.lines import Request, Step, TransferError, record_before, record_of
from holdfast.model.effect import Effect
from holdfast.model.enums import EffectKind
from holdfast.model.vm import Vm

_STEPS = {
    EffectKind.TM_PROLOG: Step.PROLOG,
    EffectKind.TM_MIGRATE: Step.MIGRATE,
    EffectKind.TM_RESUME: Step.RESUME,
    EffectKind.TM_STOP: Step.STOP,
    EffectKind.TM_EPILOG: Step.EPILOG,
    EffectKind.TM_DELETE: Step.DELETE,
    EffectKind.TM_ATTACH: Step.PROLOG_ATTACH,
    EffectKind.TM_DETACH: Step.EPILOG_DETACH,
    EffectKind.TM_SNAPSHOT_CREATE: Step.DISK_SNAPSHOT,
    EffectKind.TM_SNAPSHOT_REVERT: Step.DISK_SNAPSHOT,
    EffectKind.TM_SNAPSHOT_DELETE: Step.DISK_SNAPSHOT,
    EffectKind.TM_RESIZE: Step.DISK_RESIZE,
}
_SNAPSHOTS = {
    EffectKind.TM_SNAPSHOT_CREATE: "SNAP_CREATE",
    EffectKind.TM_SNAPSHOT_REVERT: "SNAP_REVERT",
    EffectKind.TM_SNAPSHOT_DELETE: "SNAP_DELETE",
}


def request_of(effect: Effect, vm: Vm) -> Request:
    """The step an effect asks for; raises TransferError for one that is no transfer."""
    step = _STEPS.get(effect.kind)
    if step is None:
        raise TransferError(f"{effect.kind.value} is not offered by this version")
    args = effect.args
    record = record_of(vm, _number(args, "SEQ") if args.get("SEQ") else -1)
    request = Request(step, record.seq, args.get("LOCAL") == "YES", args.get("FRONTEND") == "YES")
    if step is Step.DELETE:
        before = record_before(vm, record)
        both = before is not None and args.get("OTHER_HID") == str(before.hid) and before.hid != record.hid
        elsewhere = both or (before is not None and before.ds_id != record.ds_id)
        return replace(request, step=Step.DELETE_BOTH) if elsewhere else request
    if step in (Step.PROLOG_ATTACH, Step.EPILOG_DETACH):
        return replace(request, disk_id=_number(args, "ITEM"))
    if step is Step.DISK_SNAPSHOT:
        return replace(
            request,
            disk_id=_number(args, "DISK_ID"),
            snapshot=_SNAPSHOTS[effect.kind],
            snapshot_id=_number(args, "ITEM"),
        )
    if step is Step.DISK_RESIZE:
        return replace(request, disk_id=_number(args, "DISK_ID"), size_mb=_number(args, "SIZE"))
    return request


def _number(args: Mapping[str, str], name: str) -> int:
    text = args.get(name, "")
    if not text.isdecimal():
        raise TransferError(f'{name} of the order is "{text}", it must be a number')
    return int(text)
