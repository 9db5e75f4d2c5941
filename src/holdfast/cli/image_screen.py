"""The columns of ``oneimage list`` and the screen of ``oneimage show``."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from holdfast.cli import terminal
from holdfast.cli.screen import attributes, labels, permissions, print_screen, section
from holdfast.cli.states import IMAGE_NAMES, IMAGE_TYPE_NAMES, IMAGE_TYPE_WORDS, IMAGE_WORDS, LOCK_NAMES, word
from holdfast.cli.table import Column, Table, View, cells_of, render
from holdfast.cli.units import memory_text, time_text
from holdfast.cli.vm_table import VM_TABLE
from holdfast.cli.xmltree import integer_of, number_of, text_of

_LABEL = 15
_KB_PER_MB = 1024


def _persistent(image: Element) -> str:
    return "Yes" if text_of(image, "PERSISTENT") == "1" else "No"


def _size(image: Element, raw: bool = False) -> str:
    return memory_text(number_of(image, "SIZE") * _KB_PER_MB, raw)


IMAGE_TABLE = Table(
    columns=(
        Column("ID", 4, lambda image, view: text_of(image, "ID"), "identifier", adjust=True),
        Column("USER", 8, lambda image, view: text_of(image, "UID" if view.numeric else "UNAME"), "owner", left=True),
        Column("GROUP", 8, lambda image, view: text_of(image, "GID" if view.numeric else "GNAME"), "group", left=True),
        Column("NAME", 15, lambda image, view: text_of(image, "NAME"), "name", left=True, expand=True),
        Column("DATASTORE", 10, lambda image, view: text_of(image, "DATASTORE"), "datastore that holds it", left=True),
        Column("SIZE", 7, lambda image, view: _size(image, view.kilobytes), "size"),
        Column("TYPE", 4, lambda image, view: word(IMAGE_TYPE_WORDS, integer_of(image, "TYPE", -1)), "type", left=True),
        Column("REGTIME", 15, lambda image, view: time_text(number_of(image, "REGTIME")), "when it was registered"),
        Column("PER", 3, lambda image, view: _persistent(image), "whether it is persistent"),
        Column("STAT", 4, lambda image, view: word(IMAGE_WORDS, integer_of(image, "STATE", -1)), "state", left=True),
        Column("RVMS", 4, lambda image, view: text_of(image, "RUNNING_VMS", "0"), "VMs that use it"),
    ),
    default=("ID", "USER", "GROUP", "NAME", "DATASTORE", "SIZE", "TYPE", "PER", "STAT", "RVMS"),
)


def print_image(image: Element, vms: list[Element], now_s: float) -> None:
    """Prints the image and the VMs that use it."""
    columns = VM_TABLE.select(VM_TABLE.default)
    print_screen(
        [*section(f"IMAGE {text_of(image, 'ID')} INFORMATION"), *labels(_pairs(image), _LABEL)],
        permissions(image, _LABEL),
        [*section("IMAGE TEMPLATE"), *attributes(image.find("TEMPLATE"))],
        [*section("VIRTUAL MACHINES"), *render(columns, cells_of(columns, vms, View(now_s)), terminal.width())],
    )


def _pairs(image: Element) -> list[tuple[str, str]]:
    return [
        ("ID", text_of(image, "ID")),
        ("NAME", text_of(image, "NAME")),
        ("USER", text_of(image, "UNAME")),
        ("GROUP", text_of(image, "GNAME")),
        ("LOCK", word(LOCK_NAMES, integer_of(image, "LOCK/LOCKED"))),
        ("DATASTORE", text_of(image, "DATASTORE")),
        ("TYPE", word(IMAGE_TYPE_NAMES, integer_of(image, "TYPE", -1))),
        ("REGISTER TIME", time_text(number_of(image, "REGTIME"))),
        ("PERSISTENT", _persistent(image)),
        ("SOURCE", text_of(image, "SOURCE")),
        ("PATH", text_of(image, "PATH")),
        ("FORMAT", text_of(image, "FORMAT")),
        ("SIZE", _size(image)),
        ("STATE", word(IMAGE_NAMES, integer_of(image, "STATE", -1))),
        ("RUNNING_VMS", text_of(image, "RUNNING_VMS", "0")),
    ]
