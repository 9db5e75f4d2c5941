"""``oneimage``: the disk images."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

from holdfast.cli import actions
from holdfast.cli.errors import UsageError
from holdfast.cli.grammar import APPEND, VERBOSE, Call, Command, Program
from holdfast.cli.image_screen import IMAGE_TABLE, print_image
from holdfast.cli.listing import FORMATS, LIST_OPTIONS, print_document, print_list
from holdfast.cli.locks import LOCK_OPTIONS, lock_level
from holdfast.cli.lookup import find_filter, find_id
from holdfast.cli.options import Option, Values
from holdfast.cli.template_input import new_template
from holdfast.cli.units import size_mb
from holdfast.cli.xmltree import ids_of, parse
from holdfast.model.template import Template
from holdfast.model.template_text import write_text

_DATASTORE = Option("datastore", "d", "DATASTORE", "datastore to put it in, by id or name")
_FORCE = Option("force", description="do not wait for the end of what is done with its file")
_NO_CHECK = Option("no_check_capacity", description="do not ask whether the datastore has room")
_DRY = Option("dry", description="print the template instead of creating the image")
_TEXTS = {"name": "NAME", "description": "DESCRIPTION", "path": "PATH", "prefix": "DEV_PREFIX", "target": "TARGET"}
_DIGESTS = ("md5", "sha1", "sha256", "sha512")
_TEMPLATE_OPTIONS = (
    Option("name", argument="NAME", description="name of the image"),
    Option("description", argument="TEXT", description="what it is"),
    Option("path", argument="PATH", description="file to copy, as the server sees it, or a URL"),
    Option("size", argument="SIZE", description="size of an empty image, such as 512m or 8g"),
    Option("type", argument="TYPE", description="OS, CDROM, DATABLOCK, KERNEL, RAMDISK or CONTEXT"),
    Option("format", argument="FORMAT", description="raw or qcow2"),
    Option("persistent", description="VMs write to the image itself; one VM at a time"),
    Option("prefix", argument="PREFIX", description="device prefix of its disks: hd, sd or vd"),
    Option("target", argument="TARGET", description="device name of its disks, such as vdb"),
    *(Option(name, argument="DIGEST", description=f"the file's {name.upper()} checksum") for name in _DIGESTS),
)


def template_from_options(values: Values) -> str:
    """The template text that the options describe."""
    pairs = [(attribute, text) for name, attribute in _TEXTS.items() if (text := values.text(name)) is not None]
    pairs += [(name.upper(), text) for name in _DIGESTS if (text := values.text(name)) is not None]
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
    datastore, dry = call.values.text("datastore"), call.values.switch("dry")
    if not datastore and not dry:
        raise UsageError("Datastore to put the image in is mandatory: --datastore not given", with_help=True)
    text = new_template(call, call.argument(0), _TEMPLATE_OPTIONS, template_from_options(call.values))
    if dry or not datastore:
        print(text)
        return 0
    datastore_id = find_id(call.client, "DATASTORE", datastore)
    unchecked = call.values.switch("no_check_capacity")
    print(f"ID: {call.client.identifier('one.image.allocate', text, datastore_id, unchecked)}")
    return 0


def _clone(call: Call) -> int:
    datastore = call.values.text("datastore")
    datastore_id = find_id(call.client, "DATASTORE", datastore) if datastore else -1
    image_id = find_id(call.client, "IMAGE", call.arguments[0])
    print(f"ID: {call.client.identifier('one.image.clone', image_id, call.arguments[1], datastore_id)}")
    return 0


def _delete(call: Call) -> int:
    force = call.values.switch("force")
    return actions.for_each(
        call, "IMAGE", "deleting", lambda image: call.client.identifier("one.image.delete", image, force)
    )


def _update(call: Call) -> int:
    return actions.update(call, "IMAGE", "one.image")


def _rename(call: Call) -> int:
    return actions.rename(call, "IMAGE", "one.image")


def _change_type(call: Call) -> int:
    kind = call.arguments[1].upper()
    return actions.for_each(
        call, "IMAGE", "changing", lambda image: call.client.identifier("one.image.chtype", image, kind)
    )


def _lock(call: Call) -> int:
    level = lock_level(call)
    return actions.for_each(
        call, "IMAGE", "locking", lambda image: call.client.identifier("one.image.lock", image, level, False)
    )


def _unlock(call: Call) -> int:
    return actions.for_each(call, "IMAGE", "unlocking", lambda image: call.client.identifier("one.image.unlock", image))


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
        Command(
            "create",
            ("[<file>]",),
            "register an image in a datastore",
            _create,
            (_DATASTORE, *_TEMPLATE_OPTIONS, _NO_CHECK, _DRY),
        ),
        Command("clone", ("<imageid>", "<name>"), "copy an image under another name", _clone, (_DATASTORE,)),
        Command("delete", (_IMAGES,), "remove images", _delete, (_FORCE,)),
        Command("update", ("<imageid>", "[<file>]"), "change the attributes of an image", _update, (APPEND,)),
        Command("rename", ("<imageid>", "<name>"), "give an image another name", _rename),
        Command("enable", (_IMAGES,), "let VMs use images", _switch("one.image.enable", True, "enabling")),
        Command("disable", (_IMAGES,), "keep VMs from using images", _switch("one.image.enable", False, "disabling")),
        Command(
            "persistent", (_IMAGES,), "VMs write to the image itself", _switch("one.image.persistent", True, "changing")
        ),
        Command("nonpersistent", (_IMAGES,), "VMs write to a copy", _switch("one.image.persistent", False, "changing")),
        Command("chtype", (_IMAGES, "<type>"), "say what images are for: OS, CDROM, DATABLOCK", _change_type),
        Command("lock", (_IMAGES,), "protect images from changes", _lock, LOCK_OPTIONS),
        Command("unlock", (_IMAGES,), "take that back", _unlock),
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
