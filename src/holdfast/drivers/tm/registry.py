"""Which transfer driver carries out the lines that name it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

from holdfast.drivers.tm.lines import Line, TransferError
from holdfast.drivers.tm.tools import Clockwork
from holdfast.drivers.vmm.dummy import wants_failure, wished_delay_s
from holdfast.model.vm import Vm


class Transfers(Protocol):
    """A transfer driver: carries out a line or raises TransferError."""

    async def perform(self, line: Line, vm: Vm, clockwork: Clockwork) -> None:
        """One line for one VM."""


@runtime_checkable
class Puts(Protocol):
    """A transfer driver that can be given the content of a small disk."""

    async def put(self, word: str, content: bytes, vm: Vm, clockwork: Clockwork) -> None:
        """``host:<path>`` holds it, whole; raises TransferError."""


class DummyTransfers:
    """The transfer driver ``dummy``: nothing happens; the VM's DUMMY_FAIL and DUMMY_DELAY_S are obeyed."""

    async def perform(self, line: Line, vm: Vm, clockwork: Clockwork) -> None:
        """Waits and fails as the VM wishes."""
        await asyncio.sleep(min(wished_delay_s(vm), clockwork.left_s))
        if wants_failure(vm, line.action):
            raise TransferError("it failed as it was told to")


External = Callable[[str], Transfers | None]
"""Finds a driver that is not built in, by its name."""


class Registry:
    """The built-in drivers, and behind them those of the site."""

    def __init__(self, built_in: Mapping[str, Transfers], external: External = lambda name: None) -> None:
        self._built_in = dict(built_in)
        self._external = external

    def carrying_out(self, line: Line) -> Transfers:
        """The driver that does a line's work."""
        return self.of(self.name_for(line))

    def name_for(self, line: Line) -> str:
        """The name of the driver that does a line's work: ``CLONE.ssh shared`` is ``ssh``'s, as both are built in.

        A driver of the site knows its own modes.
        """
        mode = line.action.partition(".")[2].lower()
        return mode if mode in self._built_in and line.driver in self._built_in else line.driver

    def of(self, name: str) -> Transfers:
        """The driver; raises TransferError when there is none of this name."""
        found = self._built_in.get(name) or self._external(name)
        if found is None:
            raise TransferError(f"Transfer Driver '{name}' not available")
        return found
