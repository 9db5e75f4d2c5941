"""``onehost``: the hosts, and with ``onehost failover`` what happens when one of them dies."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from xml.etree.ElementTree import Element

from holdfast.cli import actions
from holdfast.cli.errors import FAILURE, ApiError, UsageError
from holdfast.cli.failover_commands import FAILOVER_COMMANDS
from holdfast.cli.grammar import APPEND, Call, Command, Program
from holdfast.cli.host_screen import print_host
from holdfast.cli.host_table import HOST_TABLE
from holdfast.cli.listing import FORMATS, LIST_OPTIONS, print_document, print_list
from holdfast.cli.lookup import find_id, find_ids
from holdfast.cli.options import Option
from holdfast.cli.xmltree import integer_of, last_history, parse, text_of
from holdfast.model.enums import HostStatus

_CREATE_OPTIONS = (
    Option("im", "i", "MAD", "information driver of the host, such as kvm"),
    Option("vm", "v", "MAD", "virtualization driver of the host, such as kvm"),
    Option("cluster", "c", "CLUSTER", "cluster to put it in, by id or name (default: default)"),
)
_EVERY_VM = (-2, -1, -1, -1)
_MOVABLE = {3, 8}
"""STATE of the VMs that flush asks to be moved: ACTIVE and POWEROFF."""


def _create(call: Call) -> int:
    im_mad, vm_mad, cluster = (call.values.text(name) for name in ("im", "vm", "cluster"))
    if not im_mad or not vm_mad:
        missing = " and ".join(name for name, value in (("--im", im_mad), ("--vm", vm_mad)) if not value)
        raise UsageError(f"Drivers are mandatory to create a host: {missing} not given", with_help=True)
    cluster_id = find_id(call.client, "CLUSTER", cluster) if cluster else -1
    print(f"ID: {call.client.identifier('one.host.allocate', call.arguments[0], im_mad, vm_mad, cluster_id)}")
    return 0


def _delete(call: Call) -> int:
    return actions.for_each(call, "HOST", "deleting", lambda host: call.client.identifier("one.host.delete", host))


def _set_status(call: Call, status: HostStatus, doing: str) -> int:
    return actions.for_each(
        call, "HOST", doing, lambda host: call.client.identifier("one.host.status", host, int(status))
    )


def _enable(call: Call) -> int:
    return _set_status(call, HostStatus.ENABLED, "enabling")


def _disable(call: Call) -> int:
    return _set_status(call, HostStatus.DISABLED, "disabling")


def _offline(call: Call) -> int:
    return _set_status(call, HostStatus.OFFLINE, "setting offline")


def _flush(call: Call) -> int:
    codes = [_flush_host(call, host_id) for host_id in find_ids(call.client, "HOST", call.arguments[0])]
    return max(codes)


def _flush_host(call: Call, host_id: int) -> int:
    try:
        call.client.identifier("one.host.status", host_id, int(HostStatus.DISABLED))
        vms = call.client.document("one.vmpool.info", *_EVERY_VM).findall("VM")
    except ApiError as error:
        print(error, file=sys.stderr)
        return FAILURE
    return max([0, *(_reschedule(call, vm) for vm in vms if _is_to_move(vm, host_id))])


def _is_to_move(vm: Element, host_id: int) -> bool:
    history = last_history(vm)
    return history is not None and integer_of(history, "HID", -1) == host_id and integer_of(vm, "STATE") in _MOVABLE


def _reschedule(call: Call, vm: Element) -> int:
    try:
        call.client.identifier("one.vm.action", "resched", integer_of(vm, "ID"))
    except ApiError as error:
        print(f"VM {text_of(vm, 'ID')} stays: {error}", file=sys.stderr)
        return FAILURE
    return 0


def _update(call: Call) -> int:
    return actions.update(call, "HOST", "one.host")


def _rename(call: Call) -> int:
    return actions.rename(call, "HOST", "one.host")


def _list(call: Call) -> int:
    return print_list(lambda: call.client.text("one.hostpool.info"), "HOST", HOST_TABLE, call.values)


def _show(call: Call) -> int:
    text = call.client.text("one.host.info", find_id(call.client, "HOST", call.arguments[0]))
    if not print_document(text, call.values):
        vms = call.client.document("one.vmpool.info", *_EVERY_VM).findall("VM")
        print_host(parse(text, "The server"), vms, time.time())
    return 0


_HOSTS = "<range|hostid_list>"

PROGRAM = Program(
    "onehost",
    "manages hosts",
    (
        Command("create", ("<hostname>",), "add a host", _create, _CREATE_OPTIONS),
        Command("delete", (_HOSTS,), "remove hosts", _delete),
        Command("enable", (_HOSTS,), "monitor hosts and place VMs there", _enable),
        Command("disable", (_HOSTS,), "place no more VMs there; monitoring goes on", _disable),
        Command("offline", (_HOSTS,), "stop monitoring and using hosts", _offline),
        Command("flush", (_HOSTS,), "disable hosts and have their VMs moved away", _flush),
        Command("update", ("<hostid>", "[<file>]"), "change the attributes of a host", _update, (APPEND,)),
        Command("rename", ("<hostid>", "<name>"), "give a host another name", _rename),
        Command("list", (), "list the hosts", _list, LIST_OPTIONS),
        Command("show", ("<hostid>",), "tell everything about a host", _show, FORMATS),
        *FAILOVER_COMMANDS,
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``onehost``."""
    return PROGRAM.main(argv)


if __name__ == "__main__":
    sys.exit(main())
