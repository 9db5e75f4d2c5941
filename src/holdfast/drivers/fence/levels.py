"""Walks the fence levels of a host.

Levels are tried in ascending order.  All devices of a level must say off; the first that does not ends the level and
the next one starts; the first level that succeeds ends it all.  The report tells what every level that was tried said.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.drivers.fence.agent import FenceAgents
from holdfast.drivers.fence.classify import OUTCOME_OF_STATE, Outcome, PowerState
from holdfast.drivers.fence.parameters import Device, Level, Topology
from holdfast.drivers.fence.report import FenceReport, bounded


async def fence_host(agents: FenceAgents, topology: Topology) -> FenceReport:
    """Switches the host off through the first level that works."""
    reports: list[FenceReport] = []
    for level in topology.levels:
        reports.append(await _fence_level(agents, level))
        if reports[-1].ok:
            break
    return _summary(reports)


async def probe_host(agents: FenceAgents, topology: Topology) -> FenceReport:
    """Asks without switching anything; ok if all devices of some level say off, and none asked before says on."""
    reports: list[FenceReport] = []
    for level in topology.levels:
        readings = [await _probe(agents, device, level.index) for device in level.devices]
        reports.append(_joined(readings))
        if reports[-1].ok or any(reading.outcome is OUTCOME_OF_STATE[PowerState.ON] for reading in readings):
            break
    return _summary(reports)


async def _fence_level(agents: FenceAgents, level: Level) -> FenceReport:
    reports: list[FenceReport] = []
    for device in level.devices:
        reports.append(await agents.fence_off(device, level.index))
        if not reports[-1].ok:
            break
    return _joined(reports)


async def _probe(agents: FenceAgents, device: Device, level: int) -> FenceReport:
    reading = await agents.power_status(device)
    is_off = reading.state is PowerState.OFF
    return FenceReport(
        is_off, OUTCOME_OF_STATE[reading.state], reading.text, reading.raw, reading.took_s, level, (device.name,)
    )


def _joined(reports: Sequence[FenceReport]) -> FenceReport:
    """The report of a level: the first failure decides, else whether anything had to be switched."""
    decisive = next((report for report in reports if not report.ok), None)
    switched = any(report.outcome is Outcome.FENCED for report in reports)
    return FenceReport(
        ok=decisive is None,
        outcome=decisive.outcome if decisive else Outcome.FENCED if switched else Outcome.ALREADY_OFF,
        text=decisive.text if decisive else " ".join(report.text for report in reports),
        raw=bounded("\n".join(report.raw for report in reports)),
        took_s=sum(report.took_s for report in reports),
        level=reports[0].level,
        devices=tuple(name for report in reports for name in report.devices),
    )


def _summary(levels: Sequence[FenceReport]) -> FenceReport:
    """The report of all levels: the last one decides, the others are told."""
    last = levels[-1]
    if len(levels) == 1:
        return last
    return FenceReport(
        ok=last.ok,
        outcome=last.outcome,
        text=" ".join(f"Level {report.level}: {report.text}" for report in levels),
        raw=bounded("\n".join(f"-- level {report.level}\n{report.raw}" for report in levels)),
        took_s=sum(report.took_s for report in levels),
        level=last.level,
        devices=last.devices,
    )
