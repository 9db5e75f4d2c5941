"""``info`` of the kinds that have cached views: hosts, VMs, datastores, images, hooks, failovers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from holdfast.api.methods.method import Call, Method, Result, params
from holdfast.api.views import hook as hook_view
from holdfast.api.views.markup import embedded
from holdfast.model.errors import HoldfastError, NoSuchObject

T = TypeVar("T")


class NoSuchPool(NoSuchObject):
    """An id of -1, which OpenNebula's messages take for the whole pool."""

    def __init__(self, kind: str) -> None:
        HoldfastError.__init__(self, f"Error getting {kind} Pool.")


def found(pool: Mapping[int, T], oid: int, kind: str) -> T:
    """The object with this id; raises NoSuchObject in OpenNebula's words."""
    try:
        return pool[oid]
    except KeyError:
        raise (NoSuchPool(kind) if oid == -1 else NoSuchObject(kind, oid)) from None


async def _vm(call: Call, oid: int, decrypt: bool) -> Result:
    return (call.views.vm(found(call.state.vms, oid, "virtual machine")),)


async def _host(call: Call, oid: int, decrypt: bool) -> Result:
    return (call.views.host(found(call.state.hosts, oid, "host")),)


async def _datastore(call: Call, oid: int, decrypt: bool) -> Result:
    return (call.views.datastores.one(found(call.state.datastores, oid, "datastore")),)


async def _image(call: Call, oid: int, decrypt: bool) -> Result:
    return (call.views.image(found(call.state.images, oid, "image")),)


async def _hook(call: Call, oid: int, decrypt: bool) -> Result:
    hook = found(call.state.hooks, oid, "hook")
    return (embedded(hook_view.full(hook, call.state.executions.get(oid, ()))),)


async def _failover(call: Call, oid: int) -> Result:
    return (call.views.failover(found(call.state.failovers, oid, "failover")),)


async def _template(call: Call, oid: int, extended: bool, decrypt: bool) -> Result:
    return found({}, oid, "virtual machine template")


async def _vm_monitoring(call: Call, oid: int) -> Result:
    return _records(call.views.vm_records.one(found(call.state.vms, oid, "virtual machine")))


async def _host_monitoring(call: Call, oid: int) -> Result:
    return _records(call.views.host_record(found(call.state.hosts, oid, "host")))


def _records(record: bytes) -> Result:
    return (embedded("<MONITORING_DATA>"), record, embedded("</MONITORING_DATA>"))


_INFO = params("oid:int decrypt:bool=false")
_OID = params("oid:int")

METHODS: tuple[Method, ...] = (
    Method("one.vm.info", _INFO, _vm, "string", "Shows a VM with its whole history."),
    Method("one.host.info", _INFO, _host, "string", "Shows a host."),
    Method("one.datastore.info", _INFO, _datastore, "string", "Shows a datastore."),
    Method("one.image.info", _INFO, _image, "string", "Shows an image."),
    Method("one.hook.info", _INFO, _hook, "string", "Shows a hook and the log of its executions."),
    Method("one.failover.info", _OID, _failover, "string", "Shows a failover with its evidence, proofs and VMs."),
    Method(
        "one.template.info",
        params("oid:int extended:bool=false decrypt:bool=false"),
        _template,
        "string",
        "Shows a VM template; this version stores none.",
    ),
    Method("one.vm.monitoring", _OID, _vm_monitoring, "string", "The newest monitoring record of a VM."),
    Method("one.host.monitoring", _OID, _host_monitoring, "string", "The newest monitoring record of a host."),
)
