"""The methods that change something: each makes one command for the engine.

A parameter has the name of the command's field, so that the table below is all there is to say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from holdfast.api.masking import restored
from holdfast.api.methods.method import Call, Method, params
from holdfast.engine import commands
from holdfast.engine.commands import Command
from holdfast.model.errors import AuthorizationError, HoldfastError
from holdfast.model.template import EMPTY, Template

OBJECTS = {
    "datastore": "datastore",
    "failover": "failover",
    "hook": "hook",
    "host": "host",
    "image": "image",
    "vm": "virtual machine",
}
"""What messages call an object, by its part of the method's name."""

StoredTemplate = Callable[[Call, int], Template]


def _change(
    name: str, command: Callable[..., Command], spec: str, help_text: str, secrets: StoredTemplate | None = None
) -> Method:
    declared = params(spec)
    fields = [param.name for param in declared]
    kind = OBJECTS[name.split(".")[1]]

    async def handler(call: Call, *arguments: Any) -> int:
        values = dict(zip(fields, arguments, strict=True))
        _authorize(call, kind, values.get("oid", -1))
        if secrets is not None:
            values["text"] = restored(values["text"], secrets(call, values["oid"]))
        return await _answer(call, command(**values))

    return Method(name, declared, handler, "int", help_text)


def _authorize(call: Call, kind: str, oid: int) -> None:
    if not call.actor.is_admin:
        target = f"{kind} [{oid}]" if oid >= 0 else kind
        raise AuthorizationError(f"User [{call.actor.uid}] not authorized to perform action on {target}.", oid)


async def _answer(call: Call, command: Command) -> int:
    patience_s = call.settings.patience_s
    try:
        async with asyncio.timeout(patience_s):
            return await call.controller.call(call.actor, command)
    except TimeoutError:
        raise HoldfastError(
            f"No answer within {patience_s:g} s; the change may still happen: look at the object before trying again"
        ) from None


def _host_template(call: Call, oid: int) -> Template:
    host = call.state.hosts.get(oid)
    return host.template if host else EMPTY


def _datastore_template(call: Call, oid: int) -> Template:
    datastore = call.state.datastores.get(oid)
    return datastore.template if datastore else EMPTY


_OID = "oid:int"
_NAME = "oid:int name:string"
_UPDATE = "oid:int text:string append:append=0"

METHODS: tuple[Method, ...] = (
    _change(
        "one.host.allocate",
        commands.AllocateHost,
        "name:string im_mad:string vm_mad:string cluster_id:int",
        "Registers a host; cluster -1 is the default one.",
    ),
    _change("one.host.delete", commands.DeleteHost, _OID, "Removes a host that holds no VM."),
    _change("one.host.update", commands.UpdateHost, _UPDATE, "Replaces or extends a host's template.", _host_template),
    _change("one.host.rename", commands.RenameHost, _NAME, "Gives a host another name."),
    _change(
        "one.host.status",
        commands.SetHostStatus,
        "oid:int status:int",
        "Takes a host into service (0), out of scheduling (1) or offline (2).",
    ),
    _change(
        "one.datastore.allocate",
        commands.AllocateDatastore,
        "text:string cluster_id:int",
        "Registers a datastore; cluster -1 is the default one.",
    ),
    _change("one.datastore.delete", commands.DeleteDatastore, _OID, "Removes an unused datastore."),
    _change(
        "one.datastore.update",
        commands.UpdateDatastore,
        _UPDATE,
        "Replaces or extends a datastore's template.",
        _datastore_template,
    ),
    _change("one.datastore.rename", commands.RenameDatastore, _NAME, "Gives a datastore another name."),
    _change(
        "one.datastore.enable",
        commands.EnableDatastore,
        "oid:int enable:bool",
        "Lets new VMs use a system datastore, or keeps them off it.",
    ),
    _change(
        "one.image.allocate",
        commands.AllocateImage,
        "text:string ds_id:int skip_capacity_check:bool=false",
        "Registers an image in a datastore.",
    ),
    _change("one.image.delete", commands.DeleteImage, "oid:int force:bool=false", "Removes an unused image."),
    _change("one.image.update", commands.UpdateImage, _UPDATE, "Replaces or extends an image's template."),
    _change("one.image.rename", commands.RenameImage, _NAME, "Gives an image another name."),
    _change("one.image.enable", commands.EnableImage, "oid:int enable:bool", "Lets VMs use an image, or forbids it."),
    _change(
        "one.image.persistent",
        commands.PersistImage,
        "oid:int persistent:bool",
        "Says whether what a VM writes to its disk stays in the image.",
    ),
    _change("one.vm.allocate", commands.AllocateVm, "text:string hold:bool=false", "Creates a VM from a template."),
    _change(
        "one.vm.deploy",
        commands.DeployVm,
        "oid:int hid:int enforce:bool=false ds_id:int=-1 text:string=",
        "Starts a VM on the host.",
    ),
    _change(
        "one.vm.migrate",
        commands.MigrateVm,
        "oid:int hid:int live:bool enforce:bool=false ds_id:int=-1 type:int=0",
        "Moves a VM to another host: live, saved (0), powered off (1) or cut off (2).",
    ),
    _change("one.vm.action", commands.VmAction, "action:string oid:int", "Does what the named action says to a VM."),
    _change(
        "one.vm.recover",
        commands.RecoverVm,
        "oid:int operation:int",
        "Repairs a stuck VM: 0 failure, 1 success, 2 retry, 3 delete, 4 recreate, 5 delete-db.",
    ),
    _change("one.vm.update", commands.UpdateVm, _UPDATE, "Replaces or extends a VM's user template."),
    _change("one.vm.rename", commands.RenameVm, _NAME, "Gives a VM another name."),
    _change("one.hook.allocate", commands.AllocateHook, "text:string", "Registers a hook."),
    _change("one.hook.delete", commands.DeleteHook, _OID, "Removes a hook and its log."),
    _change("one.hook.update", commands.UpdateHook, _UPDATE, "Replaces or extends a hook's template."),
    _change("one.hook.rename", commands.RenameHook, _NAME, "Gives a hook another name."),
    _change(
        "one.hook.lock",
        commands.LockHook,
        "oid:int level:int test:bool=false",
        "Locks a hook: 1 use, 2 manage, 3 admin, 4 all.",
    ),
    _change("one.hook.unlock", commands.UnlockHook, _OID, "Takes the lock off a hook."),
    _change(
        "one.hook.retry",
        commands.RetryHook,
        "oid:int execution_id:int",
        "Runs a hook again with the arguments of an earlier execution.",
    ),
    _change(
        "one.failover.allocate",
        commands.AllocateFailover,
        "host_id:int mode:string flags:string=",
        "Opens the failover of a host: migrate, recreate or delete its VMs.",
    ),
    _change("one.failover.retry", commands.RetryFailover, _OID, "Goes on where a blocked failover stopped."),
    _change(
        "one.failover.confirm",
        commands.ConfirmFailover,
        "oid:int comment:string=",
        "Vouches that the host of a failover is off.",
    ),
    _change("one.failover.abort", commands.AbortFailover, _OID, "Gives a failover up."),
)
