"""The failover of one host on a real OpenNebula, through its public API alone.

The sequence is that of OpenNebula's own hook: wait, look at the host again, fence it, then treat its VMs
(:mod:`holdfast.libexec.vm_treatment`).  Where that hook acts on stale knowledge, this one looks again:

1. the host is looked at in every cycle of the wait, and once more after fencing; alive ends it;
2. a host without VMs is not fenced;
3. a state that an operator has set meanwhile is not taken for "came back";
4. each VM is looked at before it is touched, and every answer of the server is reported.

:mod:`holdfast.libexec.host_error` wires it; time and the fence script come from there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from holdfast.cli.errors import FAILURE
from holdfast.cli.states import HOST_NAMES, word
from holdfast.cli.xmltree import ids_of, integer_of, parse, text_of
from holdfast.libexec.fence_script import FenceResult
from holdfast.libexec.hook_arguments import HookArguments
from holdfast.libexec.hook_log import HookLog
from holdfast.libexec.patient_client import Clock, PatientClient
from holdfast.libexec.vm_treatment import VmTreatment

_LOST = {3, 5}
_ALIVE = {1, 2}
_STARTING = {0, 6}
_SETTLE_TRIES = 5
_SETTLE_S = 1.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a run: the exit code and one line that tells all."""

    code: int
    text: str


class ClassicFailover:
    """One run for one host."""

    def __init__(
        self,
        client: PatientClient,
        arguments: HookArguments,
        log: HookLog,
        cycle_s: float,
        clock: Clock,
        fence: Callable[[str], FenceResult],
    ) -> None:
        self._client = client
        self._arguments = arguments
        self._log = log
        self._cycle_s = cycle_s
        self._clock = clock
        self._fence_script = fence
        self._host_xml = ""
        self._host = Element("HOST")
        self._fenced = False

    def run(self) -> Outcome:
        """Does it all."""
        self._look()
        self._log.info(f"Host {text_of(self._host, 'NAME')}: {self._state_name}")
        for step in (self._wait, self._fence, self._look_after_fencing):
            outcome = step()
            if outcome is not None:
                return outcome
        return self._treat_vms()

    @property
    def _state(self) -> int:
        return integer_of(self._host, "STATE", -1)

    @property
    def _state_name(self) -> str:
        return word(HOST_NAMES, self._state)

    def _look(self) -> None:
        self._host_xml = self._client.text("one.host.info", self._arguments.host_id)
        self._host = parse(self._host_xml, "The server")

    def _wait(self) -> Outcome | None:
        if self._arguments.pause == 0:
            self._settle()
            return self._judge()
        self._log.info(f"Waiting {self._arguments.pause} cycles of {self._cycle_s:g} s")
        for _ in range(self._arguments.pause):
            self._clock.sleep(self._cycle_s)
            self._look()
            outcome = self._judge()
            if outcome is not None:
                return outcome
        return None

    def _settle(self) -> None:
        """OpenNebula runs hooks just before it stores the new state: at first the old one may still show."""
        for _ in range(_SETTLE_TRIES):
            if self._state not in _ALIVE:
                return
            self._clock.sleep(_SETTLE_S)
            self._look()

    def _judge(self) -> Outcome | None:
        """Whether the run ends here, before anything has been done."""
        if self._state in _LOST:
            return None
        if self._state in _ALIVE:
            return Outcome(0, "it came back; nothing was done")
        if self._state in _STARTING:
            return Outcome(0, "it is monitored anew; nothing was done, and if it fails again the hook runs again")
        way_out = f"if it is dead, make sure that it is off, then 'onehost enable {self._arguments.host_id}'"
        return Outcome(FAILURE, f"someone has set it to {self._state_name}; nothing was done ({way_out})")

    def _fence(self) -> Outcome | None:
        if not ids_of(self._host, "VMS"):
            return Outcome(0, "it has no VMs; nothing was done")
        if not self._arguments.fencing:
            self._log.info("Fencing is off (-u): if the host still runs, its VMs will run twice")
            return None
        self._log.info("Fencing")
        result = self._fence_script(self._host_xml)
        for line in result.output.splitlines():
            self._log.info(f"fence: {line}")
        if not result.fenced:
            return Outcome(FAILURE, f"fencing failed, no VM was touched: {result.failure}")
        self._fenced = True
        self._log.info("Fenced")
        return None

    def _look_after_fencing(self) -> Outcome | None:
        self._look()
        if not self._fenced:
            return self._judge()
        if self._state in _ALIVE:
            advice = "check the fence device; if the host is off, it goes to ERROR again and so runs the hook again"
            return Outcome(FAILURE, f"it answers although it was fenced, no VM was touched ({advice})")
        return None

    def _treat_vms(self) -> Outcome:
        treatment = VmTreatment(self._client, self._arguments, self._log, self._clock, self._fenced)
        counts = treatment.treat_all()
        parts = ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "none to treat"
        how = "fenced" if self._fenced else "not fenced"
        return Outcome(FAILURE if counts["FAILED"] else 0, f"{how}; of {counts.total()} VMs: {parts}")
