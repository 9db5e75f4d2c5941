"""The two acts: a host loses its power; a host loses its network while its VMs keep running.

Each plays on a rack of its own with a controller of its own, and follows the guide: a hook is created, and the failover
happens because that hook exists.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from holdfast.demo.findings import ActFindings, VmFindings
from holdfast.demo.follow import Follower, judge_ledgers, wait_for_guests
from holdfast.demo.screen import Screen
from holdfast.sandbox import controller as controllers
from holdfast.sandbox import rack as racks
from holdfast.sandbox.controller import Controller
from holdfast.sandbox.rack import Rack, RackConfig, Storage

GUESTS_LIMIT_S = 120.0
STEADY_S = 2.0
HOOK = """ARGUMENTS = "$TEMPLATE -m -p {pause}"
ARGUMENTS_STDIN = "yes"
COMMAND   = "ft/host_error.rb"
NAME      = "host_error"
STATE     = "ERROR"
REMOTE    = "no"
RESOURCE  = HOST
TYPE      = state
"""


@dataclass(frozen=True)
class Act:
    """One way to lose a host."""

    key: str
    title: str
    storage: Storage
    lose: Callable[[Rack, str], None]
    told: str


ACTS = (
    Act(
        "power",
        "Act 1: a host loses its power",
        Storage.DIR,
        Rack.power_off,
        "power of {host} cut: its VMs are dead, nobody has been told",
    ),
    Act(
        "network",
        "Act 2: a host is cut off the network while its VMs keep running",
        Storage.NBD,
        Rack.cut,
        "{host} cut off the network: its VMs are alive, a split brain is waiting to happen",
    ),
)


@dataclass(frozen=True)
class Stage:
    """What the acts play on."""

    directory: Path
    hosts: int
    vms: int
    pause: int
    keep: bool


def play(act: Act, stage: Stage, screen: Screen) -> ActFindings:
    """Plays one act and tells what it found; the rack is gone afterwards unless it is to be kept."""
    found = ActFindings(act.key, act.storage.value)
    screen.title(act.title)
    with screen.step(f"a rack of {stage.hosts} hosts: libvirt, QEMU, BMCs, {act.storage.value} storage"):
        rack = racks.start(RackConfig(stage.directory, stage.hosts, act.storage))
    try:
        _perform(act, stage, screen, rack, found)
    finally:
        if not stage.keep:
            with screen.step("cleaning up"):
                controllers.stop(rack.directory)
                rack.stop()
    screen.table(found)
    screen.verdict(found)
    return found


def _perform(act: Act, stage: Stage, screen: Screen, rack: Rack, found: ActFindings) -> None:
    with screen.step("a controller, its hosts registered, an agent on each"):
        controller = controllers.start(rack)
    controller.api.call("one.hook.allocate", HOOK.format(pause=stage.pause))
    names = [f"vm{number}" for number in range(1, stage.vms + 1)]
    with screen.step(f"{stage.vms} VMs, until every guest writes to its disk"):
        for name in names:
            controller.api.call("one.vm.allocate", controllers.guest(controller, name), False)
        wait_for_guests(controller, names, GUESTS_LIMIT_S)
    time.sleep(STEADY_S)
    found.lost_host, found.vms = _victim(controller)
    screen.say("")
    follower = Follower(controller, found, screen)
    found.lost_at = time.time()
    act.lose(rack, found.lost_host)
    screen.event(time.time() - found.lost_at, found.lost_host, act.told.format(host=found.lost_host), good=False)
    follower.follow()
    time.sleep(STEADY_S)
    judge_ledgers(controller, found, names)


def _victim(controller: Controller) -> tuple[str, list[VmFindings]]:
    """The host that runs most VMs."""
    on: dict[str, list[VmFindings]] = {}
    for vm in controller.api.xml("one.vmpool.info", -2, -1, -1, -1).findall("VM"):
        host = vm.findtext("HISTORY_RECORDS/HISTORY/HOSTNAME", "")
        on.setdefault(host, []).append(VmFindings(vm.findtext("NAME", ""), int(vm.findtext("ID", "-1")), host))
    host = max(sorted(on), key=lambda name: len(on[name]))
    return host, sorted(on[host], key=lambda vm: vm.vm_id)
