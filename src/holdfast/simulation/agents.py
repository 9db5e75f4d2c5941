"""The agents' beacons, and what the controller's link makes of them.

Each agent looks at the processes of its host and says what it sees.  A beacon counts when it carries the session of the
controller that hears it: an agent learns a new session from an answer, for which the other direction must work.  A boot
that another has followed does not count any more (as ``drivers/im/replay.py``).
"""

from __future__ import annotations

from holdfast.model.beacon import BeaconReport
from holdfast.simulation.kernel import Kernel
from holdfast.simulation.machine import Machine
from holdfast.simulation.shell import Shell

SYSTEM = {"TOTALCPU": "800", "TOTALMEMORY": str(8 * 1024 * 1024), "HYPERVISOR": "qemu"}
AT_BOOT_S = 8.0


class Agents:
    """Every host's agent; the first beacons are spread over a second."""

    def __init__(self, kernel: Kernel, machines: dict[int, Machine], shell: Shell) -> None:
        self._kernel = kernel
        self._shell = shell
        self.delay_s: dict[int, float] = {}
        """Beacons of these hosts take so long."""
        for hid, machine in machines.items():
            kernel.after(0.1 + hid / (len(machines) + 1), self._beat, machine)

    def _beat(self, machine: Machine) -> None:
        self._kernel.after(machine.beats_every_s, self._beat, machine)
        if machine.powered and machine.agent:
            machine.seq += 1
            if machine.speaks:
                self._send(machine)

    def _send(self, machine: Machine) -> None:
        if machine.session != self._shell.session:
            if machine.hears and self._shell.alive:
                machine.session = self._shell.session
            else:
                return
        hypervisor = "up" if machine.libvirtd and not machine.hung else "down"
        report = BeaconReport(
            machine.hid,
            machine.boot_id,
            machine.seq,
            self._kernel.now,
            machine.processes(),
            hypervisor,
            SYSTEM,
            "simulation",
        )
        delay_s = self.delay_s.get(machine.hid)
        if delay_s is None:
            self._shell.hear(report)
        else:
            self._kernel.after(delay_s, self._arrive, (report, machine, machine.session))

    def _arrive(self, late: tuple[BeaconReport, Machine, int]) -> None:
        """A beacon that was long on its way; one of an earlier session or boot has no word any more."""
        report, machine, session = late
        if session == self._shell.session and report.boot_id == machine.boot_id:
            self._shell.hear(report)
