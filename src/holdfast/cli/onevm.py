"""``onevm``: the virtual machines."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from holdfast.cli import actions
from holdfast.cli.grammar import APPEND, VERBOSE, Call, Command, Program
from holdfast.cli.listing import FORMATS, LIST_OPTIONS, print_document, print_list
from holdfast.cli.lookup import find_filter, find_id
from holdfast.cli.options import Option
from holdfast.cli.vm_actions import ACTION_COMMANDS
from holdfast.cli.vm_create import CREATE_OPTIONS, create
from holdfast.cli.vm_devices import DEVICE_COMMANDS
from holdfast.cli.vm_repair_table import repair_of
from holdfast.cli.vm_screen import print_vm
from holdfast.cli.vm_snapshots import SNAPSHOT_COMMANDS
from holdfast.cli.vm_table import VM_TABLE
from holdfast.cli.xmltree import parse


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
        vm = parse(text, "The server")
        print_vm(vm, time.time(), everything=call.values.switch("all"), repair=repair_of(call.client, vm))
    return 0


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
        *ACTION_COMMANDS,
        *DEVICE_COMMANDS,
        *SNAPSHOT_COMMANDS,
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
