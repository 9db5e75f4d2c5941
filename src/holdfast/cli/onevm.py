"""``onevm``: the virtual machines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

from holdfast.cli import actions
from holdfast.cli.errors import UsageError
from holdfast.cli.grammar import APPEND, VERBOSE, Call, Command, Program
from holdfast.cli.listing import FORMATS, LIST_OPTIONS, print_document, print_list
from holdfast.cli.lookup import find_filter, find_id
from holdfast.cli.options import Option
from holdfast.cli.vm_create import CREATE_OPTIONS, create
from holdfast.cli.vm_screen import print_vm
from holdfast.cli.vm_table import VM_TABLE
from holdfast.cli.xmltree import parse
from holdfast.model.enums import RecoverOperation

_ENFORCE = Option("enforce", "e", description="refuse when the host or datastore lacks capacity")
_HARD = Option("hard", description="do not ask the guest: pull the plug")
_MIGRATE_OPTIONS = (
    Option("live", description="keep the VM running while it moves"),
    Option("poff", description="shut the guest down, move it, boot it"),
    Option("poff-hard", description="switch the VM off, move it, boot it"),
    _ENFORCE,
)
_RECOVER_OPTIONS = (
    Option("failure", description="the operation has failed"),
    Option("success", description="the operation has succeeded"),
    Option("retry", description="do the operation again"),
    Option("delete", description="remove the VM and what is left of it"),
    Option("recreate", description="remove it and create it anew"),
    Option("delete-db", description="forget the VM and leave everything on the host as it is"),
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
    operation = int(_RECOVER_OPERATIONS[chosen[0]])
    return actions.for_each(
        call, "VM", "recovering", lambda vm: call.client.identifier("one.vm.recover", vm, operation)
    )


def _update(call: Call) -> int:
    return actions.update(call, "VM", "one.vm", part="USER_TEMPLATE")


def _rename(call: Call) -> int:
    return actions.rename(call, "VM", "one.vm")


def _list(call: Call) -> int:
    method = "one.vmpool.infoextended" if call.values.switch("extended") else "one.vmpool.info"

    def fetch() -> str:
        return call.client.text(method, find_filter(call.client, call.argument(0)), -1, -1, -1)

    return print_list(fetch, "VM", VM_TABLE, call.values)


def _show(call: Call) -> int:
    vm_id = find_id(call.client, "VM", call.arguments[0])
    text = call.client.text("one.vm.info", vm_id, call.values.switch("decrypt"))
    if not print_document(text, call.values):
        print_vm(parse(text, "The server"), time.time(), everything=call.values.switch("all"))
    return 0


_VMS = "<range|vmid_list>"
_SHOW_OPTIONS = (
    *FORMATS,
    Option("all", description="the whole template, also what has a section of its own"),
    Option("decrypt", description="show encrypted attributes"),
)
_EXTENDED = Option("extended", description="ask for the full body of every VM (for -x, -j, -y)")

PROGRAM = Program(
    "onevm",
    "manages virtual machines",
    (
        Command("create", ("[<file>]",), "create a VM from a template or options", create, CREATE_OPTIONS),
        Command("deploy", (_VMS, "<hostid>", "[<datastoreid>]"), "start VMs on a host", _deploy, (_ENFORCE,)),
        Command(
            "migrate", (_VMS, "<hostid>", "[<datastoreid>]"), "move VMs to another host", _migrate, _MIGRATE_OPTIONS
        ),
        Command("hold", (_VMS,), "keep the scheduler from placing VMs", _action("hold", "setting to hold")),
        Command("release", (_VMS,), "let the scheduler place VMs on hold", _action("release", "releasing")),
        Command("poweroff", (_VMS,), "switch VMs off", _action("poweroff", "powering off"), (_HARD,)),
        Command("resume", (_VMS,), "start VMs again", _action("resume", "resuming")),
        Command("reboot", (_VMS,), "have guests reboot", _action("reboot", "rebooting"), (_HARD,)),
        Command("terminate", (_VMS,), "end VMs for good", _action("terminate", "shutting down"), (_HARD,)),
        Command("resched", (_VMS,), "have VMs moved to another host", _action("resched", "flagging for rescheduling")),
        Command("unresched", (_VMS,), "take that back", _action("unresched", "clearing the rescheduling flag")),
        Command("recover", (_VMS,), "help VMs that are stuck", _recover, _RECOVER_OPTIONS),
        Command("rename", ("<vmid>", "<name>"), "give a VM another name", _rename),
        Command("update", ("<vmid>", "[<file>]"), "change the user attributes of a VM", _update, (APPEND,)),
        Command("list", ("[<filterflag>]",), "list the VMs", _list, (*LIST_OPTIONS, _EXTENDED)),
        Command("show", ("<vmid>",), "tell everything about a VM", _show, _SHOW_OPTIONS),
    ),
    (VERBOSE,),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``onevm``."""
    return PROGRAM.main(argv)


if __name__ == "__main__":
    sys.exit(main())
