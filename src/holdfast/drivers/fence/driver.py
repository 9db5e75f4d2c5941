"""Carries out fencing effects: read the power of a host, or switch it off and read it back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from holdfast.drivers.fence.agent import FenceAgents
from holdfast.drivers.fence.levels import fence_host, probe_host
from holdfast.drivers.fence.parameters import BadFenceAttribute, Topology, fence_topology
from holdfast.drivers.fence.report import FenceReport
from holdfast.engine.ports import Order
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.host import Host


class FenceDriver:
    """The driver of FENCE_STATUS and FENCE_OFF."""

    def __init__(
        self,
        agents: FenceAgents | None = None,
        clock: Callable[[], float] = time.time,
        contradiction: Callable[[int], Awaitable[str]] | None = None,
    ) -> None:
        """``contradiction`` says what speaks against a host being off (its heartbeat moves on), or nothing."""
        self._agents = agents or FenceAgents()
        self._clock = clock
        self._contradiction = contradiction

    async def run(self, order: Order) -> Answer:
        """Reads or switches, within the effect's deadline."""
        if order.host is None:
            return Answer(False, "The host to fence no longer exists.")
        try:
            topology = _topology(order.host)
        except BadFenceAttribute as error:
            return Answer(False, error.message)
        if topology is None:
            return Answer(False, f"Host {order.host.name} has no fence device: no FENCE_AGENT in its template.")
        left_s = max(0.1, order.effect.deadline - self._clock())
        try:
            async with asyncio.timeout(left_s):
                answer = await self._carry_out(order.effect.kind, topology)
                return await self._unless_contradicted(order.host, order.effect.kind, answer)
        except TimeoutError:
            return Answer(False, f"The fence device gave no answer within {left_s:.0f} s.", certain=False)

    async def probe(self, order: Order) -> Answer | None:
        """After a restart: switching off what is off is harmless, so the order is simply repeated."""
        return None

    async def _carry_out(self, kind: EffectKind, topology: Topology) -> Answer:
        if kind is EffectKind.FENCE_OFF:
            return _answer(await fence_host(self._agents, topology))
        return await self._reading(topology)

    async def _unless_contradicted(self, host: Host, kind: EffectKind, answer: Answer) -> Answer:
        """A device that says off while the host goes on writing lies, or is the device of another host."""
        fenced = kind is EffectKind.FENCE_OFF
        is_off = answer.ok and (fenced or answer.values.get("POWER") == "OFF")
        said = await self._contradiction(host.oid) if is_off and self._contradiction is not None else ""
        if not said:
            return answer
        text = f"The fence device says that {host.name} is off, but {said}: do not believe this device."
        return Answer(not fenced, text, values={**answer.values, "POWER": "NOT_OFF"})

    async def _reading(self, topology: Topology) -> Answer:
        """Two readings must agree before power that is off counts as proof."""
        first = await probe_host(self._agents, topology)
        if not first.ok:
            return Answer(True, first.text, values={"POWER": "NOT_OFF", "RAW": first.raw})
        second = await probe_host(self._agents, topology)
        raw = f"{first.raw}\n{second.raw}"
        if not second.ok:
            return Answer(True, f"two readings differ: {second.text}", values={"POWER": "NOT_OFF", "RAW": raw})
        return Answer(True, f"power is off, read twice: {second.text}", values={"POWER": "OFF", "RAW": raw})


def _topology(host: Host) -> Topology | None:
    return fence_topology(host.template.singles(), host.template.sections("FENCE"))


def _answer(report: FenceReport) -> Answer:
    return Answer(report.ok, report.text, values={"RAW": report.raw, "OUTCOME": report.outcome.name})
