"""Asks the server again while it cannot be reached: it may be restarting, or another one is just taking over.

Only for calls that do no harm when carried out twice.  A server that cannot store what it is asked for has not refused
it either: its answer is an internal error, and it is asked again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar
from xml.etree.ElementTree import Element

from holdfast.cli.errors import ApiError, Unreachable
from holdfast.cli.rpc import Client
from holdfast.cli.wire import Scalar

PATIENCE_S = 60.0
_PAUSE_S = 2.0
_INTERNAL = 0x2000
_Answer = TypeVar("_Answer")


class Clock(Protocol):
    """The time, real or simulated."""

    def monotonic(self) -> float:
        """Seconds since some moment."""

    def sleep(self, seconds: float, /) -> None:
        """Returns that much later."""


class PatientClient:
    """A client that bears an outage of a minute."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self.once = client
        """For calls that must not be repeated."""
        self._clock = clock

    def text(self, method: str, *arguments: Scalar) -> str:
        """The string that ``method`` answers with."""
        return self._ask(lambda: self.once.text(method, *arguments))

    def document(self, method: str, *arguments: Scalar) -> Element:
        """The XML document that ``method`` answers with."""
        return self._ask(lambda: self.once.document(method, *arguments))

    def identifier(self, method: str, *arguments: Scalar) -> int:
        """The object id that ``method`` answers with."""
        return self._ask(lambda: self.once.identifier(method, *arguments))

    def _ask(self, call: Callable[[], _Answer]) -> _Answer:
        deadline = self._clock.monotonic() + PATIENCE_S
        while True:
            try:
                return call()
            except (Unreachable, ApiError) as error:
                refused = isinstance(error, ApiError) and error.code != _INTERNAL
                if refused or self._clock.monotonic() >= deadline:
                    raise
                self._clock.sleep(_PAUSE_S)
