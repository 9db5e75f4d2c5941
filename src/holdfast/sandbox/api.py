"""A small client of the controller's XML-RPC API, for what the sandbox registers and watches."""

from __future__ import annotations

import http.client
import xmlrpc.client
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.parsers.expat import ExpatError

from holdfast.sandbox.errors import RackError

CALL_LIMIT_S = 30.0


class _Transport(xmlrpc.client.Transport):
    """One that does not wait for ever."""

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = super().make_connection(host)
        connection.timeout = CALL_LIMIT_S
        return connection


class Api:
    """Calls with the credentials of a one_auth file."""

    def __init__(self, endpoint: str, auth_path: Path) -> None:
        self.endpoint = endpoint
        self.auth_path = auth_path
        self._proxy = xmlrpc.client.ServerProxy(endpoint, transport=_Transport(), allow_none=False)

    def call(self, method: str, *args: Any) -> Any:
        """The method's value; raises RackError with the server's message."""
        session = self.auth_path.read_text(encoding="utf-8").strip()
        try:
            reply: Any = getattr(self._proxy, method)(session, *args)
        except (OSError, xmlrpc.client.Error, http.client.HTTPException, ExpatError) as error:
            raise RackError(f"{method}: the controller at {self.endpoint} does not answer: {error}") from None
        if not reply[0]:
            raise RackError(str(reply[1]))
        return reply[1]

    def close(self) -> None:
        """Hangs up; the next call connects anew."""
        self._proxy("close")()

    def xml(self, method: str, *args: Any) -> ElementTree.Element:
        """The method's XML value, parsed; it comes from our own controller."""
        return ElementTree.fromstring(self.call(method, *args))
