"""Users and operators: what they ask of a VM in its state, of hosts, and of failovers.

Mostly what makes sense there, sometimes anything at all; operators recover what has failed or hangs.  They may be
wrong about the outcome of a step (``recover --success``), but whoever confirms that a host is off has looked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from holdfast.engine import commands as c
from holdfast.engine.commands import Command
from holdfast.engine.state import State
from holdfast.model.enums import FailoverState, HostState
from holdfast.model.errors import HoldfastError
from holdfast.model.vm import Vm
from holdfast.model.vm_states import LcmState, VmState
from holdfast.simulation.machine import Machine
from holdfast.simulation.plan import Entry
from holdfast.simulation.repairs import Repairs
from holdfast.simulation.shell import DOWN, Shell
from holdfast.simulation.wishes import Wishes
from holdfast.simulation.world import World

NEW_VM = 'CPU=0.1\nMEMORY=512\nDISK=[TYPE="fs",SIZE="16",FORMAT="qcow2"]\nNIC=[NETWORK="net"]'
LIMIT_OF_VMS = 1.2
"""So many VMs there may be at most, as a share of those at the beginning."""

RUNNING = (
    *("migrate-live", "migrate-live", "migrate-live", "migrate-save", "migrate-poweroff", "migrate-poweroff-hard"),
    *("poweroff", "poweroff", "poweroff-hard", "suspend", "suspend", "stop", "stop", "undeploy", "undeploy-hard"),
    *("reboot", "reboot-hard", "resched", "resched", "unresched", "terminate", "terminate-hard"),
    *("attach-disk", "detach-disk", "attach-nic", "detach-nic", "snapshot", "snapshot-revert", "snapshot-delete"),
    *("disk-snapshot", "disk-snapshot-delete", "disk-resize", "recover-recreate"),
)
BY_STATE: dict[VmState, Sequence[str]] = {
    VmState.PENDING: ("hold", "deploy", "deploy", "terminate"),
    VmState.HOLD: ("release", "release", "deploy", "recover-recreate"),
    VmState.POWEROFF: (
        *(("resume",) * 12),
        *("migrate", "resched", "undeploy", "terminate", "attach-disk", "detach-disk", "attach-nic", "detach-nic"),
        *("disk-snapshot", "disk-snapshot-revert", "disk-snapshot-delete", "disk-resize", "resize", "recover-recreate"),
    ),
    VmState.SUSPENDED: (*(("resume",) * 6), "stop", "migrate", "terminate", "disk-snapshot", "disk-snapshot-delete"),
    VmState.STOPPED: ("resume", "resume", "deploy", "deploy", "terminate"),
    VmState.UNDEPLOYED: ("resume", "resume", "deploy", "deploy", "terminate", "disk-resize"),
}
UNKNOWN = (
    *("resume", "migrate", "poweroff", "poweroff-hard", "resched", "resched", "terminate-hard", "undeploy"),
    *("recover-success", "recover-failure", "recover-recreate", "recover-delete"),
)
FAILED = (
    *(("recover-retry",) * 8),
    *(("repair",) * 4),
    *("recover-success", "recover-failure", "recover-failure", "recover-recreate", "migrate", "resched", "terminate"),
)
TRANSIENT = (
    *("recover-retry", "recover-retry", "recover-failure", "recover-success", "recover-recreate", "recover-delete"),
    *("poweroff-hard", "terminate-hard", "undeploy-hard", "recover-delete-db"),
)
ANYTHING = (*RUNNING, *UNKNOWN, *TRANSIENT, "deploy", "hold", "release", "migrate", "resume")
STATUS = {"enable": 0, "disable": 1, "offline": 2}
RECOVER = {"failure": 0, "success": 1, "retry": 2, "delete": 3, "recreate": 4, "delete-db": 5}
DRIVEN = ("confirm", "retry", "abort")
MIGRATE = {
    "migrate": (False, 0),
    "live": (True, 0),
    "save": (False, 0),
    "poweroff": (False, 1),
    "poweroff-hard": (False, 2),
}
WITH_ITEM: dict[str, Callable[[int, int], Command]] = {
    "attach-disk": lambda vm, item: c.AttachDisk(vm, 'DISK=[TYPE="fs",SIZE="8",FORMAT="raw"]'),
    "detach-disk": lambda vm, item: c.DetachDisk(vm, item),
    "attach-nic": lambda vm, item: c.AttachNic(vm, 'NIC=[NETWORK="net"]'),
    "detach-nic": lambda vm, item: c.DetachNic(vm, item),
    "snapshot": lambda vm, item: c.CreateSnapshot(vm, f"s{item}"),
    "snapshot-revert": lambda vm, item: c.RevertSnapshot(vm, item),
    "snapshot-delete": lambda vm, item: c.DeleteSnapshot(vm, item),
    "disk-snapshot": lambda vm, item: c.CreateDiskSnapshot(vm, 0, f"d{item}"),
    "disk-snapshot-revert": lambda vm, item: c.RevertDiskSnapshot(vm, 0, item),
    "disk-snapshot-delete": lambda vm, item: c.DeleteDiskSnapshot(vm, 0, item),
    "disk-resize": lambda vm, item: c.ResizeDisk(vm, 0, str(32 + 16 * item)),
    "resize": lambda vm, item: c.ResizeVm(vm, f"CPU=0.{1 + item}\nMEMORY={512 + 128 * item}"),
}
PLAIN = (
    *("poweroff", "poweroff-hard", "suspend", "stop", "undeploy", "undeploy-hard", "terminate", "terminate-hard"),
    *("resume", "reboot", "reboot-hard", "resched", "unresched", "hold", "release"),
)
ACTIONS = (
    *(*PLAIN, *WITH_ITEM, "deploy", "migrate", "repair"),
    *(f"recover-{name}" for name in RECOVER),
    *(f"migrate-{name}" for name in MIGRATE if name != "migrate"),
)
"""Whatever may be asked of a VM, by name."""


def actions_in(vm: Vm) -> Sequence[str]:
    """What is sensibly asked of a VM in its state."""
    if vm.state is not VmState.ACTIVE:
        return BY_STATE.get(vm.state, ())
    if vm.lcm_state is LcmState.RUNNING:
        return RUNNING
    if vm.lcm_state is LcmState.UNKNOWN:
        return UNKNOWN
    return FAILED if vm.lcm_state.name.endswith("FAILURE") else TRANSIENT


def command_of(action: str, vm_id: int, hid: int, item: int = 0) -> Command:
    """The call behind an action's name."""
    if action == "deploy":
        return c.DeployVm(vm_id, hid)
    if action.startswith("migrate"):
        live, kind = MIGRATE[action.removeprefix("migrate-")]
        return c.MigrateVm(vm_id, hid, live=live, type=kind)
    if action.startswith("recover-"):
        return c.RecoverVm(vm_id, RECOVER[action.removeprefix("recover-")])
    if action in WITH_ITEM:
        return WITH_ITEM[action](vm_id, item)
    return c.VmAction(vm_id, action)


class Operators:
    """Carries out what a plan says that people do.

    Entries ``user`` and ``operator`` leave the choice to their picks; ``chosen`` remembers what they came to, in the
    plain entries (``vm``, ``create``, ``host``, ``failover``) that scenarios and short stories use.
    """

    def __init__(self, world: World, shell: Shell, wishes: Wishes, vms: int) -> None:
        self._world = world
        self._shell = shell
        self._wishes = wishes
        self._most = int(vms * LIMIT_OF_VMS)
        self._repairs = Repairs(world.kernel, shell, world.story, self._vouch)
        self.chosen: dict[Entry, Entry | None] = {}
        self._do: dict[str, Callable[[State, Mapping[str, Any]], None]] = {
            "vm": self._vm,
            "create": self._create,
            "host": self._host,
            "failover": self._failover,
        }

    def knows(self, what: str) -> bool:
        """Whether an entry of this name is something that people do."""
        return what in self._do or what in ("user", "operator")

    def carry_out(self, entry: Entry) -> None:
        """One thing that somebody asks for; nothing when no controller answers."""
        engine = self._shell.engine
        if engine is None:
            self.chosen[entry] = None
            return
        plain: Entry | None = entry
        if entry.what == "user":
            plain = self.chosen[entry] = self._users_choice(engine.state, entry)
        elif entry.what == "operator":
            plain = self.chosen[entry] = self._operators_choice(engine.state, entry)
        if plain is not None:
            self._do[plain.what](engine.state, plain.args)

    # --- choices

    def _users_choice(self, state: State, entry: Entry) -> Entry | None:
        args = entry.args
        vms = [vm for vm in state.vms.values() if vm.state is not VmState.DONE]
        if args["item"] < 0.06 and len(vms) < self._most:
            return Entry(entry.at, "create", {})
        if not vms:
            return None
        vm: Vm = _of(vms, _troubled(vms, args))
        actions = actions_in(vm) if args["item"] <= 0.94 else ANYTHING
        if not actions:
            return None
        hid = int(args["host"] * len(self._world.machines))
        told = {"vm": vm.oid, "action": _of(actions, args["pick"]), "host": hid, "item": int(args["item"] * 4)}
        return Entry(entry.at, "vm", told)

    def _operators_choice(self, state: State, entry: Entry) -> Entry | None:
        pick, hid = entry.args["pick"], int(entry.args["host"] * len(self._world.machines))
        open_failovers = [failover for failover in state.failovers.values() if failover.is_open]
        if open_failovers and pick < 0.7:
            failover = _of(open_failovers, entry.args["host"])
            action = self._drive(failover.state, self._world.machines[failover.host_id], pick / 0.7)
            return Entry(entry.at, "failover", {"id": failover.oid, "action": action}) if action else None
        away = state.hosts[hid].state in (HostState.DISABLED, HostState.OFFLINE)
        action = "enable" if away else ("disable" if pick < 0.94 else "offline")
        return Entry(entry.at, "host", {"host": hid, "action": action})

    @staticmethod
    def _drive(state: FailoverState, machine: Machine, pick: float) -> str:
        if not machine.powered and pick < 0.4:
            return "confirm"
        if pick < 0.85:
            return "retry" if state is FailoverState.BLOCKED else ""
        return "abort" if pick > 0.9 else ""

    # --- what is asked

    def _vm(self, state: State, args: Mapping[str, Any]) -> None:
        vm = state.vms.get(int(args["vm"]))
        if vm is None:
            return
        action = str(args["action"])
        if action == "repair":
            self._repairs.begin(vm, int(args.get("item", 0)))
            return
        command = command_of(action, vm.oid, int(args.get("host", -1)), int(args.get("item", 0)))
        tell = self._world.story.tell

        def told(answer: int | HoldfastError) -> None:
            if answer is DOWN:
                self._wishes.unsure(vm, action)
            elif not isinstance(answer, HoldfastError):
                self._wishes.asked(vm, action)
            said = answer.message if isinstance(answer, HoldfastError) else "accepted"
            tell("user: {} of VM {} ({}): {}", action, vm.oid, vm.state_name, said)

        self._shell.call(command, told)

    def _vouch(self, vm_id: int) -> None:
        """Somebody has repaired the VM's transfer and says so."""
        engine = self._shell.engine
        if engine is not None:
            self._vm(engine.state, {"vm": vm_id, "action": "recover-success"})

    def _create(self, state: State, args: Mapping[str, Any]) -> None:
        template = str(args.get("template", NEW_VM))
        self._call(c.AllocateVm(template, hold=bool(args.get("hold"))), "create")

    def _host(self, state: State, args: Mapping[str, Any]) -> None:
        hid, action = int(args["host"]), str(args["action"])
        if hid in state.hosts:
            self._call(c.SetHostStatus(hid, STATUS[action]), f"host {hid} {action}")

    def _failover(self, state: State, args: Mapping[str, Any]) -> None:
        """Whoever confirms that a host is off has looked."""
        oid, action = int(args["id"]), str(args["action"])
        failover = state.failovers.get(oid)
        if failover is None:
            return
        if action == "confirm":
            if not self._world.machines[failover.host_id].powered:
                self._call(c.ConfirmFailover(oid, "I have looked"), f"failover {oid} confirm")
        else:
            command = c.RetryFailover(oid) if action == "retry" else c.AbortFailover(oid)
            self._call(command, f"failover {oid} {action}")

    def _call(self, command: Command, what: str) -> None:
        tell = self._world.story.tell

        def told(answer: int | HoldfastError) -> None:
            said = answer.message if isinstance(answer, HoldfastError) else f"accepted ({answer})"
            tell("operator: {}: {}", what, said)

        self._shell.call(command, told)

    def tidy_up(self, _: object) -> None:
        """After the faults: hosts are put into service again, and BLOCKED failovers asked to go on."""
        engine = self._shell.engine
        if engine is None:
            return
        for host in list(engine.state.hosts.values()):
            if host.state in (HostState.DISABLED, HostState.OFFLINE):
                self._host(engine.state, {"host": host.oid, "action": "enable"})
        for failover in list(engine.state.failovers.values()):
            if failover.state is FailoverState.BLOCKED:
                self._failover(engine.state, {"id": failover.oid, "action": "retry"})


def _troubled(vms: Sequence[Vm], args: Mapping[str, float]) -> float:
    """Every other time somebody looks after a VM that does not run: the pick is moved to one of them."""
    pick = args["vm"]
    if pick < 0.5:
        return pick * 2
    idle = [at for at, vm in enumerate(vms) if vm.lcm_state is not LcmState.RUNNING]
    return (_of(idle, (pick - 0.5) * 2) + 0.5) / len(vms) if idle else pick


def _of(things: Sequence[Any], pick: float) -> Any:
    return things[min(len(things) - 1, int(pick * len(things)))]
