"""Pools: each reply is a list of fragments that are ready already, so it costs as much as what changed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from holdfast.api.methods.method import Call, Method, Result, params
from holdfast.api.methods.selection import in_state, listed, newest_first, owned_by, page
from holdfast.api.views import hook as hook_view
from holdfast.api.views.markup import embedded
from holdfast.model.errors import ArgumentError
from holdfast.model.hook import HookExecution
from holdfast.model.vm import Vm

_ALL_RC = 0
_SUCCESS_RC = 1
_ERROR_RC = -1


def _pool(root: str, fragments: Sequence[bytes]) -> Result:
    return (embedded(f"<{root}>"), *fragments, embedded(f"</{root}>"))


async def _hosts(call: Call) -> Result:
    return _pool("HOST_POOL", await call.views.hosts.many(list(newest_first(call.state.hosts))))


async def _datastores(call: Call) -> Result:
    return _pool("DATASTORE_POOL", await call.views.datastores.many(list(newest_first(call.state.datastores))))


async def _hooks(call: Call) -> Result:
    return _pool("HOOK_POOL", await call.views.hooks.many(list(newest_first(call.state.hooks))))


async def _failovers(call: Call) -> Result:
    return _pool("FAILOVER_POOL", await call.views.failovers(list(newest_first(call.state.failovers))))


async def _images(call: Call, flag: int, start: int, end: int) -> Result:
    images = page(owned_by(newest_first(call.state.images), call.actor, flag), start, end)
    return _pool("IMAGE_POOL", await call.views.images.many(images))


async def _templates(call: Call, flag: int, start: int, end: int) -> Result:
    owned_by([], call.actor, flag)
    return _pool("VMTEMPLATE_POOL", ())


VmFragments = Callable[[Call, Sequence[Vm]], Awaitable[list[bytes]]]


async def _short(call: Call, vms: Sequence[Vm]) -> list[bytes]:
    return await call.views.short_vms.many(vms)


async def _extended(call: Call, vms: Sequence[Vm]) -> list[bytes]:
    return await call.views.extended_vms(vms)


def _vm_pool(fragments: VmFragments) -> Callable[[Call, int, int, int, int, str], Awaitable[Result]]:
    async def handler(call: Call, flag: int, start: int, end: int, state: int, query: str) -> Result:
        if query:
            raise ArgumentError("Searching by a query is not supported: leave the last argument empty")
        selected = page(in_state(owned_by(newest_first(call.state.vms), call.actor, flag), state), start, end)
        return _pool("VM_POOL", await fragments(call, selected))

    return handler


async def _vm_set(call: Call, ids: str, extended: bool) -> Result:
    selected = listed(call.state.vms, ids)
    return _pool("VM_POOL", await (_extended if extended else _short)(call, selected))


async def _vms_monitoring(call: Call, flag: int, seconds: int) -> Result:
    vms = list(owned_by(call.state.vms.values(), call.actor, flag))
    return _pool("MONITORING_DATA", await call.views.vm_records.many(vms))


async def _hosts_monitoring(call: Call, seconds: int) -> Result:
    return _pool("MONITORING_DATA", await call.views.host_records.many(list(call.state.hosts.values())))


async def _hook_log(call: Call, min_ts: int, max_ts: int, hook_id: int, rc: int) -> Result:
    if rc not in (_ALL_RC, _SUCCESS_RC, _ERROR_RC):
        raise ArgumentError(f"Incorrect rc filter {rc}: 0 is all, 1 success, -1 error")
    chosen = sorted(call.state.executions, reverse=True) if hook_id < 0 else [hook_id]
    records = [
        execution
        for hook in chosen
        for execution in reversed(call.state.executions.get(hook, ()))
        if _within(execution, min_ts, max_ts) and _ended_as(execution, rc)
    ]
    return hook_view.log(records)


def _within(execution: HookExecution, min_ts: int, max_ts: int) -> bool:
    return (min_ts < 0 or execution.timestamp >= min_ts) and (max_ts < 0 or execution.timestamp <= max_ts)


def _ended_as(execution: HookExecution, rc: int) -> bool:
    return rc == _ALL_RC or (execution.code == 0) == (rc == _SUCCESS_RC)


_FILTER = params("flag:int start:int end:int")
_VM_FILTER = params("flag:int start:int end:int state:int query:string=")

METHODS: tuple[Method, ...] = (
    Method("one.hostpool.info", (), _hosts, "string", "Lists the hosts."),
    Method("one.datastorepool.info", (), _datastores, "string", "Lists the datastores."),
    Method("one.imagepool.info", _FILTER, _images, "string", "Lists the images that the filter lets through."),
    Method("one.templatepool.info", _FILTER, _templates, "string", "Lists VM templates; this version stores none."),
    Method("one.hookpool.info", (), _hooks, "string", "Lists the hooks, without their logs."),
    Method("one.failoverpool.info", (), _failovers, "string", "Lists the failovers, finished ones too."),
    Method("one.vmpool.info", _VM_FILTER, _vm_pool(_short), "string", "Lists VMs in short."),
    Method("one.vmpool.infoextended", _VM_FILTER, _vm_pool(_extended), "string", "Lists VMs in full."),
    Method(
        "one.vmpool.infoset", params("ids:string extended:bool"), _vm_set, "string", "Lists the VMs with these ids."
    ),
    Method(
        "one.vmpool.monitoring",
        params("flag:int seconds:int=-1"),
        _vms_monitoring,
        "string",
        "The newest monitoring record of each VM.",
    ),
    Method(
        "one.hostpool.monitoring",
        params("seconds:int=-1"),
        _hosts_monitoring,
        "string",
        "The newest monitoring record of each host.",
    ),
    Method(
        "one.hooklog.info",
        params("min_ts:int max_ts:int hook_id:int rc:int"),
        _hook_log,
        "string",
        "Lists executions of hooks by time, hook (-1 any) and outcome (0 any, 1 success, -1 error).",
    ),
)
