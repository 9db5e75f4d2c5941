"""A little OpenNebula behind :class:`ScriptedServer`: one host that fails, some VMs, the calls of the failover hook."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.unit.cli.scripted_server import Answer, Raw, Refusal, sample

HOST_ID = 13


@dataclass
class ScriptedVm:
    """A VM; it is on the host unless told otherwise."""

    vm_id: int
    state: int = 3
    lcm_state: int = 16
    host_id: int = HOST_ID
    datastore_id: int = 100
    refused: bool = False

    def xml(self) -> str:
        """The body of info and pool alike."""
        return (
            f"<VM><ID>{self.vm_id}</ID><STATE>{self.state}</STATE><LCM_STATE>{self.lcm_state}</LCM_STATE>"
            f"<HISTORY_RECORDS><HISTORY><SEQ>0</SEQ><HOSTNAME>s11</HOSTNAME><HID>{self.host_id}</HID>"
            f"<DS_ID>{self.datastore_id}</DS_ID></HISTORY></HISTORY_RECORDS></VM>"
        )


@dataclass
class ScriptedOpenNebula:
    """``host_states`` are what host.info shows, call by call; the last one stays."""

    vms: list[ScriptedVm] = field(default_factory=list)
    host_states: list[int] = field(default_factory=lambda: [3])
    changes: dict[int, list[ScriptedVm]] = field(default_factory=dict)
    """For a VM: what vm.info shows, call by call, instead of what the pool shows."""
    interval: str = ""
    outage: int = 0
    """So many calls find the server down."""

    def answers(self) -> dict[str, Answer]:
        """The script of the server."""
        return {
            "one.system.config": self.config,
            "one.host.info": self.host,
            "one.vmpool.info": self.pool,
            "one.datastorepool.info": self.datastores,
            "one.vm.info": self.vm,
            "one.vm.action": self.action,
            "one.vm.recover": self.recover,
        }

    def config(self) -> str:
        self._maybe_down()
        interval = f"<MONITORING_INTERVAL_HOST>{self.interval}</MONITORING_INTERVAL_HOST>" if self.interval else ""
        return f"<OPENNEBULA_CONFIGURATION>{interval}</OPENNEBULA_CONFIGURATION>"

    def host(self, host_id: int) -> str:
        self._maybe_down()
        if host_id != HOST_ID:
            raise Refusal(f"[one.host.info] Error getting host [{host_id}].", 1024, host_id)
        state = self.host_states.pop(0) if len(self.host_states) > 1 else self.host_states[0]
        ids = "".join(f"<ID>{vm.vm_id}</ID>" for vm in self.vms if vm.host_id == HOST_ID)
        text = sample("host_error.xml").replace("<STATE>3</STATE>", f"<STATE>{state}</STATE>")
        return text.replace("<VMS></VMS>", f"<VMS>{ids}</VMS>")

    def pool(self, *arguments: int) -> str:
        assert arguments == (-2, -1, -1, -1)
        return f"<VM_POOL>{''.join(vm.xml() for vm in self.vms)}</VM_POOL>"

    def datastores(self) -> str:
        shared = {100: "<SHARED>YES</SHARED>", 101: "<SHARED>no</SHARED>", 102: ""}
        parts = (f"<DATASTORE><ID>{oid}</ID><TEMPLATE>{text}</TEMPLATE></DATASTORE>" for oid, text in shared.items())
        return f"<DATASTORE_POOL>{''.join(parts)}</DATASTORE_POOL>"

    def vm(self, vm_id: int) -> str:
        shown = self.changes.get(vm_id) or [vm for vm in self.vms if vm.vm_id == vm_id]
        return (shown.pop(0) if len(shown) > 1 else shown[0]).xml()

    def action(self, action: str, vm_id: int) -> int:
        assert action == "resched"
        self._maybe_refuse(vm_id, "one.vm.action")
        return vm_id

    def recover(self, vm_id: int, operation: int) -> int:
        self._maybe_refuse(vm_id, "one.vm.recover")
        return vm_id

    def _maybe_refuse(self, vm_id: int, method: str) -> None:
        if any(vm.refused for vm in self.vms if vm.vm_id == vm_id):
            raise Refusal(f"[{method}] wrong state")

    def _maybe_down(self) -> None:
        if self.outage > 0:
            self.outage -= 1
            raise Raw("down", 503)
