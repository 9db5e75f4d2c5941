"""What a hand is told about a VM: as much of it as its transfer lines need, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from holdfast.drivers.tm.lines import Request, Step
from holdfast.model.snapshot import DiskSnapshots
from holdfast.model.template import Template
from holdfast.model.vm import History, Vm
from holdfast.model.vm_states import LcmState, VmState


def vm_as_data(vm: Vm) -> dict[str, Any]:
    """Its disks, what counts their snapshots, and where it has been."""
    return {
        "oid": vm.oid,
        "disks": [dict(disk) for disk in vm.template.sections("DISK")],
        "snapshots": [[tree.disk_id, tree.next_oid] for tree in vm.snapshots],
        "history": [[stay.seq, stay.hid, stay.hostname, stay.ds_id, stay.tm_mad] for stay in vm.history],
    }


def vm_from_data(data: Mapping[str, Any]) -> Vm:
    """A VM that knows just that."""
    return Vm(
        data["oid"], 0, 0, "", VmState.ACTIVE, LcmState.LCM_INIT,
        template=Template([("DISK", disk) for disk in data["disks"]]),
        history=tuple(_stay(*each) for each in data["history"]),
        snapshots=tuple(DiskSnapshots(disk_id, next_oid=next_oid) for disk_id, next_oid in data["snapshots"]),
    )  # fmt: skip


def request_as_data(request: Request) -> dict[str, Any]:
    """A step as JSON."""
    return asdict(request)


def request_from_data(data: Mapping[str, Any]) -> Request:
    """The step again."""
    return Request(**{**data, "step": Step(data["step"])})


def _stay(seq: int, hid: int, hostname: str, ds_id: int, tm_mad: str) -> History:
    return History(seq, hid, hostname, 0, ds_id, "", tm_mad)
