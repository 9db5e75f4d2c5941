"""``one.storage.check``, an extension: looks through all datastores for orphans and missing files.  Changes nothing."""

from __future__ import annotations

from holdfast.api.methods.method import Call, Method, Result
from holdfast.api.views.markup import embedded
from holdfast.api.views.storage_check import storage_check
from holdfast.model.errors import AuthorizationError


async def _check(call: Call) -> Result:
    if not call.actor.is_admin:
        raise AuthorizationError(f"User [{call.actor.uid}] : Only administrators may look through all storage.")
    return (embedded(storage_check(await call.controller.storage.report())),)


METHODS: tuple[Method, ...] = (
    Method("one.storage.check", (), _check, "string", "Lists files that belong to nobody, and files that are missing."),
)
