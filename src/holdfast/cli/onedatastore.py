"""``onedatastore``: where images and the disks of running VMs are kept."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from holdfast.cli import actions
from holdfast.cli.datastore_screen import DATASTORE_TABLE, print_datastore
from holdfast.cli.grammar import APPEND, VERBOSE, Call, Command, Program
from holdfast.cli.listing import FORMATS, LIST_OPTIONS, print_document, print_list
from holdfast.cli.lookup import find_id
from holdfast.cli.options import Option
from holdfast.cli.template_input import new_template
from holdfast.cli.xmltree import parse

_CLUSTER = Option("cluster", "c", "CLUSTER", "cluster to put it in, by id or name (default: default)")


def _create(call: Call) -> int:
    text = new_template(call, call.argument(0), (), "")
    cluster = call.values.text("cluster")
    cluster_id = find_id(call.client, "CLUSTER", cluster) if cluster else -1
    print(f"ID: {call.client.identifier('one.datastore.allocate', text, cluster_id)}")
    return 0


def _delete(call: Call) -> int:
    return actions.for_each(
        call, "DATASTORE", "deleting", lambda datastore: call.client.identifier("one.datastore.delete", datastore)
    )


def _update(call: Call) -> int:
    return actions.update(call, "DATASTORE", "one.datastore")


def _rename(call: Call) -> int:
    return actions.rename(call, "DATASTORE", "one.datastore")


def _enable(call: Call) -> int:
    return _set_enabled(call, True, "enabling")


def _disable(call: Call) -> int:
    return _set_enabled(call, False, "disabling")


def _set_enabled(call: Call, enabled: bool, doing: str) -> int:
    return actions.for_each(
        call,
        "DATASTORE",
        doing,
        lambda datastore: call.client.identifier("one.datastore.enable", datastore, enabled),
    )


def _list(call: Call) -> int:
    return print_list(lambda: call.client.text("one.datastorepool.info"), "DATASTORE", DATASTORE_TABLE, call.values)


def _show(call: Call) -> int:
    text = call.client.text("one.datastore.info", find_id(call.client, "DATASTORE", call.arguments[0]))
    if not print_document(text, call.values):
        print_datastore(parse(text, "The server"))
    return 0


_DATASTORES = "<range|datastoreid_list>"

PROGRAM = Program(
    "onedatastore",
    "manages datastores",
    (
        Command("create", ("[<file>]",), "create a datastore from a template", _create, (_CLUSTER,)),
        Command("delete", (_DATASTORES,), "remove datastores", _delete),
        Command("update", ("<datastoreid>", "[<file>]"), "change the attributes of a datastore", _update, (APPEND,)),
        Command("rename", ("<datastoreid>", "<name>"), "give a datastore another name", _rename),
        Command("enable", (_DATASTORES,), "let VMs be placed on system datastores", _enable),
        Command("disable", (_DATASTORES,), "keep VMs from being placed there", _disable),
        Command("list", (), "list the datastores", _list, LIST_OPTIONS),
        Command("show", ("<datastoreid>",), "tell everything about a datastore", _show, FORMATS),
    ),
    (VERBOSE,),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``onedatastore``."""
    return PROGRAM.main(argv)


if __name__ == "__main__":
    sys.exit(main())
