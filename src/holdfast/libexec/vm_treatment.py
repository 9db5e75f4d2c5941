"""What the classic failover does to the VMs of a lost host: resched, recreate or delete.

A VM is touched only if it still belongs to the host and does not run.  The result of each is logged and counted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from holdfast.cli.errors import CliError
from holdfast.cli.states import lcm_name, vm_name
from holdfast.cli.xmltree import integer_of, last_history, text_of
from holdfast.libexec.hook_arguments import HookArguments
from holdfast.libexec.hook_log import HookLog
from holdfast.libexec.patient_client import Clock, PatientClient
from holdfast.model.enums import RecoverOperation
from holdfast.model.vm_states import LcmState, VmState

_GRACE_TRIES = 10
_GRACE_S = 1.0


@dataclass(frozen=True, slots=True)
class Treated:
    """What became of one VM; ``kind`` is what the summary counts."""

    kind: str
    text: str


class VmTreatment:
    """Treats the VMs of one host, one after the other."""

    def __init__(
        self, client: PatientClient, arguments: HookArguments, log: HookLog, clock: Clock, fenced: bool
    ) -> None:
        self._client = client
        self._arguments = arguments
        self._log = log
        self._clock = clock
        self._fenced = fenced
        self._grace = _GRACE_TRIES
        self._datastores = Element("DATASTORE_POOL")

    def treat_all(self) -> Counter[str]:
        """How many VMs ended in which way."""
        vms = self._client.document("one.vmpool.info", -2, -1, -1, -1).findall("VM")
        self._datastores = self._client.document("one.datastorepool.info")
        counts: Counter[str] = Counter()
        for vm in vms:
            if self._is_concerned(vm):
                treated = self._treat(integer_of(vm, "ID"))
                counts[treated.kind] += 1
                tell = self._log.error if treated.kind == "FAILED" else self._log.info
                tell(f"VM {text_of(vm, 'ID')} {treated.kind}: {treated.text}")
        return counts

    def _is_concerned(self, vm: Element) -> bool:
        states = {VmState.ACTIVE}
        if self._arguments.force or self._arguments.mode != "recreate":
            states |= {VmState.SUSPENDED, VmState.POWEROFF}
        history = last_history(vm)
        on_host = history is not None and integer_of(history, "HID", -1) == self._arguments.host_id
        return on_host and integer_of(vm, "STATE") in states

    def _treat(self, vm_id: int) -> Treated:
        try:
            vm = self._settled(vm_id)
            if not self._is_concerned(vm):
                return Treated("left alone", "it is no longer on the host")
            if _is_running(vm):
                return Treated("FAILED" if self._fenced else "left alone", "the server says that it is RUNNING there")
            if self._arguments.mode == "migrate":
                return self._reschedule(vm)
            return self._recover(vm)
        except CliError as error:
            return Treated("FAILED", str(error))

    def _settled(self, vm_id: int) -> Element:
        """The VM now.  The server may take a moment to turn the VMs of a lost host from RUNNING to UNKNOWN."""
        vm = self._client.document("one.vm.info", vm_id)
        while self._grace > 0 and self._is_concerned(vm) and _is_running(vm):
            self._grace -= 1
            self._clock.sleep(_GRACE_S)
            vm = self._client.document("one.vm.info", vm_id)
        return vm

    def _reschedule(self, vm: Element) -> Treated:
        history = last_history(vm)
        datastore_id = text_of(history, "DS_ID") if history is not None else ""
        shared = self._shared(datastore_id)
        if shared == "NO":
            return Treated("skipped", f"its system datastore {datastore_id} is not shared")
        if not shared:
            return Treated("FAILED", f"its system datastore {datastore_id} does not say whether it is SHARED")
        self._client.identifier("one.vm.action", "resched", integer_of(vm, "ID"))
        return Treated("rescheduled", f"it was {_state_of(vm)}")

    def _recover(self, vm: Element) -> Treated:
        recreate = self._arguments.mode == "recreate"
        operation = RecoverOperation.RECREATE if recreate else RecoverOperation.DELETE
        # Not asked twice: the first try may have been carried out.
        self._client.once.identifier("one.vm.recover", integer_of(vm, "ID"), int(operation))
        return Treated("recreated" if recreate else "deleted", f"it was {_state_of(vm)}")

    def _shared(self, datastore_id: str) -> str:
        for datastore in self._datastores.findall("DATASTORE"):
            if text_of(datastore, "ID") == datastore_id:
                return text_of(datastore, "TEMPLATE/SHARED").upper()
        return ""


def _is_running(vm: Element) -> bool:
    return integer_of(vm, "STATE") == VmState.ACTIVE and integer_of(vm, "LCM_STATE") == LcmState.RUNNING


def _state_of(vm: Element) -> str:
    state = integer_of(vm, "STATE")
    return lcm_name(integer_of(vm, "LCM_STATE")) if state == VmState.ACTIVE else vm_name(state)
