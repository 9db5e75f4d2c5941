"""``oneimage``: the disk images."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

from holdfast.cli import actions
from holdfast.cli.errors import UsageError
from holdfast.cli.grammar import VERBOSE, Call, Command, Program
from holdfast.cli.image_screen import IMAGE_TABLE, print_image
from holdfast.cli.listing import FORMATS, LIST_OPTIONS, print_document, print_list
from holdfast.cli.lookup import find_filter, find_id
from holdfast.cli.options import Option, Values
from holdfast.cli.template_input import new_template
from holdfast.cli.units import size_mb
from holdfast.cli.xmltree import ids_of, parse
from holdfast.model.template import Template
from holdfast.model.template_text import write_text

_DATASTORE = Option("datastore", "d", "DATASTORE", "datastore to put it in, by id or name")
_TEMPLATE_OPTIONS = (
    Option("name", argument="NAME", description="name of the image"),
    Option("path", argument="PATH", description="file to copy, as the server sees it"),
    Option("size", argument="SIZE", description="size of an empty image, such as 512m or 8g"),
    Option("type", argument="TYPE", description="OS, CDROM, DATABLOCK, KERNEL, RAMDISK or CONTEXT"),
    Option("format", argument="FORMAT", description="raw or qcow2"),
    Option("persistent", description="VMs write to the image itself; one VM at a time"),
)


def template_from_options(values: Values) -> str:
    """The template text that the options describe."""
    pairs = [(name.upper(), text) for name in ("name", "path") if (text := values.text(name)) is not None]
    size, kind = values.text("size"), values.text("type")
    if size is not None:
        pairs.append(("SIZE", str(size_mb(size, "--size"))))
    if kind is not None:
        pairs.append(("TYPE", kind.upper()))
    if (image_format := values.text("format")) is not None:
        pairs.append(("FORMAT", image_format))
    if values.switch("persistent"):
        pairs.append(("PERSISTENT", "YES"))
    return write_text(Template(pairs))


def _create(call: Call) -> int:
    datastore = call.values.text("datastore")
    if not datastore:
        raise UsageError("Datastore to put the image in is mandatory: --datastore not given", with_help=True)
    text = new_template(call, call.argument(0), _TEMPLATE_OPTIONS, template_from_options(call.values))
    datastore_id = find_id(call.client, "DATASTORE", datastore)
    print(f"ID: {call.client.identifier('one.image.allocate', text, datastore_id, False)}")
    return 0


def _delete(call: Call) -> int:
    return actions.for_each(
        call, "IMAGE", "deleting", lambda image: call.client.identifier("one.image.delete", image, False)
    )


def _switch(method: str, value: bool, doing: str) -> Callable[[Call], int]:
    """The command that calls ``method(id, value)`` for each image."""

    def run(call: Call) -> int:
        return actions.for_each(call, "IMAGE", doing, lambda image: call.client.identifier(method, image, value))

    return run


def _list(call: Call) -> int:
    def fetch() -> str:
        return call.client.text("one.imagepool.info", find_filter(call.client, call.argument(0)), -1, -1)

    return print_list(fetch, "IMAGE", IMAGE_TABLE, call.values)


def _show(call: Call) -> int:
    text = call.client.text("one.image.info", find_id(call.client, "IMAGE", call.arguments[0]))
    if not print_document(text, call.values):
        image = parse(text, "The server")
        users = set(ids_of(image, "VMS"))
        vms = call.client.document("one.vmpool.info", -2, -1, -1, -1).findall("VM") if users else []
        print_image(image, [vm for vm in vms if vm.findtext("ID") in users], time.time())
    return 0


_IMAGES = "<range|imageid_list>"

PROGRAM = Program(
    "oneimage",
    "manages disk images",
    (
        Command("create", ("[<file>]",), "register an image in a datastore", _create, (_DATASTORE, *_TEMPLATE_OPTIONS)),
        Command("delete", (_IMAGES,), "remove images", _delete),
        Command("enable", (_IMAGES,), "let VMs use images", _switch("one.image.enable", True, "enabling")),
        Command("disable", (_IMAGES,), "keep VMs from using images", _switch("one.image.enable", False, "disabling")),
        Command(
            "persistent", (_IMAGES,), "VMs write to the image itself", _switch("one.image.persistent", True, "changing")
        ),
        Command("nonpersistent", (_IMAGES,), "VMs write to a copy", _switch("one.image.persistent", False, "changing")),
        Command("list", ("[<filterflag>]",), "list the images", _list, LIST_OPTIONS),
        Command("show", ("<imageid>",), "tell everything about an image", _show, FORMATS),
    ),
    (VERBOSE,),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``oneimage``."""
    return PROGRAM.main(argv)


if __name__ == "__main__":
    sys.exit(main())
