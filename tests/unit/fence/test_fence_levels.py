"""Walking the levels of a topology, with small programs in place of devices."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from holdfast.drivers.fence import Device, FenceAgents, Level, Outcome, Topology, fence_host, probe_host

# The plug says what the device does: works, already, broken or dead.
AGENT = """#!/bin/bash
input=$(cat); here=$(dirname "$0")
option() { sed -n "s/^$1=//p" <<< "$input"; }
ip=$(option ip); does=$(option plug); action=$(option action)
[ $action = off ] && echo $ip >> $here/switched
case $does in
  broken) echo 'RAKP 2 HMAC is invalid' >&2; exit 1 ;;
  dead) echo 'Connection timed out' >&2; exit 1 ;;
  already) [ $action = off ] && { echo 'Success: Already OFF'; exit 0; } ;;
  works) [ $action = off ] && { touch $here/$ip; exit 0; }; [ -e $here/$ip ] || { echo 'Status: ON'; exit 0; } ;;
esac
echo 'Status: OFF'; exit 2
"""


@pytest.fixture
def agents(tmp_path: Path) -> FenceAgents:
    (tmp_path / "fence_fake").write_text(AGENT)
    (tmp_path / "fence_fake").chmod(0o755)
    return FenceAgents([tmp_path])


def topology(levels: dict[int, list[str]]) -> Topology:
    """Each level is a list of behaviours; the devices are called by level and place: d11, d12, d21, ..."""
    return Topology(
        tuple(
            Level(
                index,
                tuple(
                    Device("fence_fake", {"ip": f"d{index}{place}", "plug": behaviour}, 5)
                    for place, behaviour in enumerate(devices, 1)
                ),
            )
            for index, devices in levels.items()
        )
    )


@pytest.mark.parametrize(
    ("levels", "outcome", "level", "switched"),
    [
        ({1: ["works"]}, Outcome.FENCED, 1, ["d11"]),
        ({1: ["already"]}, Outcome.ALREADY_OFF, 1, ["d11"]),
        ({1: ["works", "works"]}, Outcome.FENCED, 1, ["d11", "d12"]),
        ({1: ["already", "works"]}, Outcome.FENCED, 1, ["d11", "d12"]),
        ({1: ["works"], 2: ["works"]}, Outcome.FENCED, 1, ["d11"]),
        ({1: ["dead"], 2: ["works"]}, Outcome.FENCED, 2, ["d11", "d21"]),
        ({1: ["broken", "works"], 3: ["works", "already"]}, Outcome.FENCED, 3, ["d11", "d31", "d32"]),
        ({1: ["works", "dead"], 2: ["works"]}, Outcome.FENCED, 2, ["d11", "d12", "d21"]),
        ({1: ["works", "dead"]}, Outcome.UNREACHABLE, 1, ["d11", "d12"]),
        ({1: ["dead"], 2: ["broken"]}, Outcome.DENIED, 2, ["d11", "d21"]),
    ],
)
def test_the_first_level_whose_devices_all_say_off_ends_it(
    agents: FenceAgents, tmp_path: Path, levels: dict[int, list[str]], outcome: Outcome, level: int, switched: list[str]
) -> None:
    report = asyncio.run(fence_host(agents, topology(levels)))
    assert (report.outcome, report.level, report.ok) == (outcome, level, outcome.is_off)
    assert (tmp_path / "switched").read_text().split() == switched


def test_the_report_tells_what_every_level_said(agents: FenceAgents) -> None:
    report = asyncio.run(fence_host(agents, topology({1: ["dead"], 2: ["broken"]})))
    assert "Level 1: fence_fake at d11 plug dead: The fence device does not answer." in report.text
    assert "Level 2: fence_fake at d21 plug broken: The fence device answers but refuses" in report.text
    assert "-- level 1\n$ fence_fake at d11 plug dead action=off: exit 1" in report.raw
    assert "-- level 2\n$ fence_fake at d21 plug broken action=off: exit 1" in report.raw


@pytest.mark.parametrize(
    ("levels", "outcome", "level"),
    [
        ({1: ["already"]}, Outcome.ALREADY_OFF, 1),
        ({1: ["already", "already"]}, Outcome.ALREADY_OFF, 1),
        ({1: ["works"]}, Outcome.STILL_ON, 1),
        ({1: ["already", "works"]}, Outcome.STILL_ON, 1),
        ({1: ["dead"]}, Outcome.UNREACHABLE, 1),
        ({1: ["dead"], 2: ["already"]}, Outcome.ALREADY_OFF, 2),
    ],
)
def test_a_probe_reads_the_power_and_switches_nothing(
    agents: FenceAgents, tmp_path: Path, levels: dict[int, list[str]], outcome: Outcome, level: int
) -> None:
    report = asyncio.run(probe_host(agents, topology(levels)))
    assert (report.outcome, report.level, report.ok) == (outcome, level, outcome.is_off)
    assert not (tmp_path / "switched").exists()


def test_a_probe_after_fencing_says_off(agents: FenceAgents) -> None:
    async def fence_then_probe() -> bool:
        await fence_host(agents, topology({1: ["works"]}))
        return (await probe_host(agents, topology({1: ["works"]}))).ok

    assert asyncio.run(fence_then_probe())
