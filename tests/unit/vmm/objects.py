"""VMs, hosts, datastores and orders for the tests of the drivers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from holdfast.engine.ports import Order
from holdfast.model.effect import Effect
from holdfast.model.enums import DatastoreType, EffectKind, HostState
from holdfast.model.host import Host
from holdfast.model.storage import Datastore
from holdfast.model.template_text import parse_text
from holdfast.model.vm import History, Vm
from holdfast.model.vm_states import LcmState, VmState

BASIC = 'CPU=1 \n MEMORY=64 \n OS=[ARCH="x86_64", MACHINE="pc"]'
DISK = 'DISK=[DISK_ID=0, TARGET="vda", DRIVER="qcow2", FORMAT="qcow2", IMAGE="alpine", IMAGE_ID=3]'


def a_host(oid: int = 1, text: str = "", vm_mad: str = "qemu", name: str = "") -> Host:
    """A host that is monitored."""
    return Host(oid, name or f"host{oid}", HostState.MONITORED, "kvm", vm_mad, template=parse_text(text))


def a_stay(hid: int = 1, seq: int = 0, ds_id: int = 0, tm_mad: str = "qcow2") -> History:
    """A history record."""
    return History(seq, hid, f"host{hid}", 0, ds_id, "qemu", tm_mad, stime=1000 + seq)


def a_vm(
    oid: int = 7, text: str = BASIC, history: tuple[History, ...] = (), user: str = "", lcm: LcmState = LcmState.BOOT
) -> Vm:
    """A VM that boots on host 1, or where ``history`` says."""
    return Vm(
        oid, 0, 0, f"vm{oid}", VmState.ACTIVE, lcm, parse_text(text), parse_text(user),
        stime=990, history=history or (a_stay(),),
    )  # fmt: skip


def a_datastore(oid: int = 0, text: str = "", base_path: str = "/ds/0") -> Datastore:
    """A system datastore."""
    return Datastore(oid, f"system{oid}", DatastoreType.SYSTEM_DS, "qcow2", "-", base_path, template=parse_text(text))


def an_order(
    kind: EffectKind,
    vm: Vm | None = None,
    host: Host | None = None,
    limit_s: float = 10.0,
    args: Mapping[str, str] | None = None,
    datastore: Datastore | None = None,
    oid: int = 1,
) -> Order:
    """An effect to be carried out now, within ``limit_s``."""
    now = time.time()
    effect = Effect(oid, kind, vm.oid if vm else 0, host.oid if host else -1, now, now + limit_s, 1, args=args or {})
    known = datastore or a_datastore()
    return Order(effect, vm, host, datastores={known.oid: known})


def elsewhere(vm: Vm, *stays: History) -> Vm:
    """The same VM with another history."""
    return replace(vm, history=stays)
