"""One call, from the bytes of the request to the pieces of the reply.

Whatever is wrong with a call is answered: a fault for what is no proper call, an error reply with OpenNebula's code for
a refusal, and INTERNAL for a fault of ours, whose details go to the log alone.
"""

from __future__ import annotations

import logging

from holdfast.api.auth import Authenticator
from holdfast.api.methods import REGISTRY, ApiSettings, Call, Method, introspection
from holdfast.api.methods.opennebula import NAMES
from holdfast.api.ports import Controller
from holdfast.api.views import Views
from holdfast.api.views.installation import VERSION
from holdfast.api.xmlrpc import (
    NO_SUCH_METHOD,
    TYPE_ERROR,
    Fault,
    Request,
    document_reply,
    error_reply,
    fault_reply,
    int_reply,
    parse_request,
    text_reply,
    value_reply,
)
from holdfast.model.errors import ActionError, HoldfastError

LOG = logging.getLogger("holdfast.api")


class Responder:
    """Answers calls for one controller."""

    def __init__(self, controller: Controller, settings: ApiSettings | None = None) -> None:
        self._controller = controller
        self._settings = settings or ApiSettings()
        self._views = Views(controller)
        self._authenticator = Authenticator(controller)

    async def reply(self, body: bytes) -> list[bytes]:
        """The reply to the request in ``body``."""
        try:
            request = parse_request(body)
            if introspection.is_system(request.method):
                return value_reply(introspection.answer(request.method, request.params, REGISTRY))
            return await self._answered(request)
        except Fault as fault:
            return fault_reply(fault)

    async def _answered(self, request: Request) -> list[bytes]:
        name = request.method
        method = REGISTRY.get(name)
        if method is None and name not in NAMES:
            raise Fault(NO_SUCH_METHOD, f"Method '{name[:80]}' not defined")
        try:
            return await self._called(name, method, request)
        except HoldfastError as refusal:
            return error_reply(f"[{name}] {refusal.message}", refusal.code, refusal.object_id)
        except Fault:
            raise
        except Exception:
            LOG.exception("%s failed", name)
            return error_reply(f"[{name}] Internal error, explained in the server's log.", HoldfastError.code, -1)

    async def _called(self, name: str, method: Method | None, request: Request) -> list[bytes]:
        if not request.params or not isinstance(request.params[0], str):
            raise Fault(TYPE_ERROR, f"Not enough parameters: {name} needs the session as its first, a string")
        actor = self._authenticator.actor(request.params[0])
        if method is None:
            raise ActionError(f"Holdfast {VERSION} does not support this method of OpenNebula")
        arguments = method.arguments(request.params[1:])
        result = await method.handler(Call(self._controller, self._views, actor, self._settings), *arguments)
        if isinstance(result, int):
            return int_reply(result)
        return text_reply(result) if isinstance(result, str) else document_reply(result)
