"""One order of a VM on a host, with what every step of its driver needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from holdfast.engine.ports import Order
from holdfast.simulation.drivers.luck import Fortune, Luck
from holdfast.simulation.libvirtd import Libvirtd
from holdfast.simulation.links import Line, Lines
from holdfast.simulation.machine import Machine
from holdfast.simulation.world import World

MARGIN_S = 0.25
FOREVER_S = 1e9


@dataclass(slots=True)
class Site:
    """What the drivers of one controller work with."""

    world: World
    lines: Lines
    libvirtds: dict[int, Libvirtd]
    fortune: Fortune
    clock: Callable[[], float]


class Job:
    """An order of a VM: where, how long, with what luck."""

    def __init__(self, site: Site, order: Order) -> None:
        effect = order.effect
        self.site = site
        self.order = order
        self.vm_id = effect.subject
        self.hid = effect.host_id
        self.luck: Luck = site.fortune.of(order)
        self._until = effect.deadline - MARGIN_S

    @property
    def left_s(self) -> float:
        """What remains of the effect's time."""
        return max(0.0, self._until - self.site.clock())

    @property
    def line(self) -> Line:
        """The connection to the order's host."""
        return self.site.lines.by_host[self.hid]

    @property
    def libvirtd(self) -> Libvirtd:
        """The order's libvirtd."""
        return self.site.libvirtds[self.hid]

    @property
    def machine(self) -> Machine:
        """The order's host."""
        return self.site.world.machines[self.hid]

    @property
    def other_hid(self) -> int:
        """The second host, -1 when the order concerns one."""
        return int(self.order.effect.args.get("OTHER_HID", "-1"))

    @property
    def seq(self) -> int:
        """The history record that it works on."""
        return int(self.order.effect.args.get("SEQ", "-1"))

    @property
    def hard(self) -> bool:
        """Pull the plug instead of asking the guest."""
        return self.order.effect.args.get("HARD") == "YES"

    @property
    def again(self) -> bool:
        """A domain may be there from an earlier start."""
        return self.order.effect.args.get("AGAIN") == "YES"
