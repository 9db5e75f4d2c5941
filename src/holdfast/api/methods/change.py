"""How a method that changes something becomes one command for the engine.

A parameter has the name of the command's field, so that the tables (:mod:`.changes`, :mod:`.vm_changes`) are all there
is to say.  Only administrators may change anything in this version.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from holdfast.api.masking import restored
from holdfast.api.methods.method import Call, Method, params
from holdfast.engine.commands import Command
from holdfast.model.errors import AuthorizationError, HoldfastError
from holdfast.model.template import Template

OBJECTS = {
    "datastore": "datastore",
    "failover": "failover",
    "hook": "hook",
    "host": "host",
    "image": "image",
    "vm": "virtual machine",
}
"""What messages call an object, by its part of the method's name."""

OID = "oid:int"
NAME = "oid:int name:string"
UPDATE = "oid:int text:string append:append=0"

StoredTemplate = Callable[[Call, int], Template]


def change(
    name: str, command: Callable[..., Command], spec: str, help_text: str, secrets: StoredTemplate | None = None
) -> Method:
    """The method ``name`` that hands ``command`` to the engine; ``secrets`` finds what masks in its text stand for."""
    declared = params(spec)
    fields = [param.name for param in declared]
    kind = OBJECTS[name.split(".")[1]]

    async def handler(call: Call, *arguments: Any) -> int:
        values = dict(zip(fields, arguments, strict=True))
        authorize(call, kind, values.get("oid", -1))
        if secrets is not None:
            values["text"] = restored(values["text"], secrets(call, values["oid"]))
        return await answer(call, command(**values))

    return Method(name, declared, handler, "int", help_text)


def authorize(call: Call, kind: str, oid: int) -> None:
    """Only administrators go on; raises AuthorizationError."""
    if not call.actor.is_admin:
        target = f"{kind} [{oid}]" if oid >= 0 else kind
        raise AuthorizationError(f"User [{call.actor.uid}] not authorized to perform action on {target}.", oid)


async def answer(call: Call, command: Command) -> int:
    """The engine's answer to the command, within the caller's patience."""
    patience_s = call.settings.patience_s
    try:
        async with asyncio.timeout(patience_s):
            return await call.controller.call(call.actor, command)
    except TimeoutError:
        raise HoldfastError(
            f"No answer within {patience_s:g} s; the change may still happen: look at the object before trying again"
        ) from None
