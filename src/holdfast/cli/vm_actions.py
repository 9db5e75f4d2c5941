"""The commands of ``onevm`` that take a VM through its life: one call to the server for each VM that is named.

Which of them a state allows is the server's to say.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast.cli import actions
from holdfast.cli.errors import UsageError
from holdfast.cli.grammar import Call, Command
from holdfast.cli.lookup import find_id
from holdfast.cli.options import Option
from holdfast.model.enums import RecoverOperation

VMS = "<range|vmid_list>"
"""What the help calls the argument that names VMs."""

ENFORCE = Option("enforce", "e", description="refuse when the host or datastore lacks capacity")
_HARD = Option("hard", description="do not ask the guest: pull the plug")
_MIGRATE_OPTIONS = (
    Option("live", description="keep the VM running while it moves"),
    Option("poff", description="shut the guest down, move it, boot it"),
    Option("poff-hard", description="switch the VM off, move it, boot it"),
    ENFORCE,
)
_RECOVER_OPTIONS = (
    Option("failure", description="the operation has failed"),
    Option("success", description="the operation has succeeded"),
    Option("retry", description="do the operation again"),
    Option("delete", description="remove the VM and what is left of it"),
    Option("recreate", description="remove it and create it anew"),
    Option("delete-db", description="forget the VM and leave everything on the host as it is"),
    Option("interactive", description="with --retry: go through the transfer, action by action"),
    Option("take-over", description="with --interactive: even if somebody else is at it"),
)
_RECOVER_OPERATIONS = {
    "failure": RecoverOperation.FAILURE,
    "success": RecoverOperation.SUCCESS,
    "retry": RecoverOperation.RETRY,
    "delete": RecoverOperation.DELETE,
    "recreate": RecoverOperation.RECREATE,
    "delete-db": RecoverOperation.DELETE_DB,
}


def _action(name: str, doing: str) -> Callable[[Call], int]:
    """The command that asks ``one.vm.action`` for ``name``, or for ``name-hard``."""

    def run(call: Call) -> int:
        action = f"{name}-hard" if call.values.switch("hard") else name
        return actions.for_each(call, "VM", doing, lambda vm: call.client.identifier("one.vm.action", action, vm))

    return run


def _destination(call: Call) -> tuple[int, int]:
    host_id = find_id(call.client, "HOST", call.arguments[1])
    datastore = call.argument(2)
    return host_id, find_id(call.client, "DATASTORE", datastore) if datastore is not None else -1


def _deploy(call: Call) -> int:
    host_id, datastore_id = _destination(call)
    enforce = call.values.switch("enforce")
    return actions.for_each(
        call,
        "VM",
        "deploying",
        lambda vm: call.client.identifier("one.vm.deploy", vm, host_id, enforce, datastore_id, ""),
    )


def _migrate(call: Call) -> int:
    values = call.values
    ways = [name for name in ("live", "poff", "poff-hard") if values.switch(name)]
    if len(ways) > 1:
        raise UsageError(f"--{ways[0]} and --{ways[1]} exclude each other.")
    host_id, datastore_id = _destination(call)
    live, enforce = values.switch("live"), values.switch("enforce")
    kind = 2 if values.switch("poff-hard") else int(values.switch("poff"))
    return actions.for_each(
        call,
        "VM",
        "migrating",
        lambda vm: call.client.identifier("one.vm.migrate", vm, host_id, live, enforce, datastore_id, kind),
    )


def _recover(call: Call) -> int:
    chosen = [name for name in _RECOVER_OPERATIONS if call.values.switch(name)]
    if len(chosen) != 1:
        found = " and ".join(f"--{name}" for name in chosen) or "none"
        wanted = ", ".join(f"--{name}" for name in _RECOVER_OPERATIONS)
        raise UsageError(f"Say in one way how to recover: {wanted} (given: {found}).")
    if call.values.switch("interactive"):
        if chosen != ["retry"]:
            raise UsageError(f"--interactive goes with --retry, not with --{chosen[0]}.")
        from holdfast.cli.vm_repair import repair

        return repair(call)
    if call.values.switch("take-over"):
        raise UsageError("--take-over goes with --retry --interactive.")
    operation = int(_RECOVER_OPERATIONS[chosen[0]])
    return actions.for_each(
        call, "VM", "recovering", lambda vm: call.client.identifier("one.vm.recover", vm, operation)
    )


ACTION_COMMANDS = (
    Command("deploy", (VMS, "<hostid>", "[<datastoreid>]"), "start VMs on a host", _deploy, (ENFORCE,)),
    Command(
        "migrate",
        (VMS, "<hostid>", "[<datastoreid>]"),
        "move VMs to another host; running ones are saved for it",
        _migrate,
        _MIGRATE_OPTIONS,
    ),
    Command("hold", (VMS,), "keep the scheduler from placing VMs", _action("hold", "setting to hold")),
    Command("release", (VMS,), "let the scheduler place VMs on hold", _action("release", "releasing")),
    Command("suspend", (VMS,), "save VMs to disk, to go on where they are", _action("suspend", "suspending")),
    Command("stop", (VMS,), "save VMs to disk and free their hosts", _action("stop", "stopping")),
    Command("poweroff", (VMS,), "switch VMs off", _action("poweroff", "powering off"), (_HARD,)),
    Command("undeploy", (VMS,), "switch VMs off and free their hosts", _action("undeploy", "undeploying"), (_HARD,)),
    Command("resume", (VMS,), "start VMs again", _action("resume", "resuming")),
    Command("reboot", (VMS,), "have guests reboot", _action("reboot", "rebooting"), (_HARD,)),
    Command("terminate", (VMS,), "end VMs for good", _action("terminate", "shutting down"), (_HARD,)),
    Command("resched", (VMS,), "have VMs moved to another host", _action("resched", "flagging for rescheduling")),
    Command("unresched", (VMS,), "take that back", _action("unresched", "clearing the rescheduling flag")),
    Command("recover", (VMS,), "help VMs that are stuck", _recover, _RECOVER_OPTIONS),
)
