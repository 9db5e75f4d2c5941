"""The columns of ``onedatastore list`` and the screen of ``onedatastore show``."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from holdfast.cli.screen import attributes, labels, permissions, print_screen, section
from holdfast.cli.states import (
    DATASTORE_NAMES,
    DATASTORE_TYPE_NAMES,
    DATASTORE_TYPE_WORDS,
    DATASTORE_WORDS,
    word,
)
from holdfast.cli.table import Column, Table, View
from holdfast.cli.units import memory_text
from holdfast.cli.xmltree import ids_of, integer_of, number_of, text_of

_LABEL = 15
_KB_PER_MB = 1024
_DISK_TYPES = ("FILE", "CDROM", "BLOCK", "RBD", "RBD_CDROM", "GLUSTER", "GLUSTER_CDROM")


def _total(datastore: Element, view: View) -> str:
    total, _ = _capacity_mb(datastore)
    return memory_text(total * _KB_PER_MB, view.kilobytes) if number_of(datastore, "TOTAL_MB") else "-"


def _available(datastore: Element, view: View) -> str:
    total, free = _capacity_mb(datastore)
    if not number_of(datastore, "TOTAL_MB"):
        return "-"
    return f"{free * 100 / total:.0f}%" if total else "0%"


def _capacity_mb(datastore: Element) -> tuple[float, float]:
    """What it may hold and what is left of that: LIMIT_MB counts when it is less than the file system has."""
    total, free = number_of(datastore, "TOTAL_MB"), number_of(datastore, "FREE_MB")
    limit = text_of(datastore, "TEMPLATE/LIMIT_MB")
    if not limit.isdigit():
        return total, free
    return min(total, float(limit)), max(0.0, min(free, float(limit) - number_of(datastore, "USED_MB")))


def _clusters(datastore: Element) -> str:
    return ",".join(ids_of(datastore, "CLUSTERS")) or "-"


def _amount(datastore: Element, path: str, raw: bool = False) -> str:
    return memory_text(number_of(datastore, path) * _KB_PER_MB, raw)


DATASTORE_TABLE = Table(
    columns=(
        Column("ID", 4, lambda datastore, view: text_of(datastore, "ID"), "identifier", adjust=True),
        Column("USER", 8, lambda datastore, view: text_of(datastore, "UNAME"), "owner", left=True),
        Column("GROUP", 8, lambda datastore, view: text_of(datastore, "GNAME"), "group", left=True),
        Column("NAME", 18, lambda datastore, view: text_of(datastore, "NAME"), "name", left=True, expand=True),
        Column("SIZE", 5, _total, "capacity"),
        Column("AVA", 3, _available, "free part of it", adjust=True),
        Column("CLUSTERS", 8, lambda datastore, view: _clusters(datastore), "clusters that use it", left=True),
        Column("IMAGES", 6, lambda datastore, view: str(len(ids_of(datastore, "IMAGES"))), "number of images"),
        Column(
            "TYPE",
            4,
            lambda datastore, view: word(DATASTORE_TYPE_WORDS, integer_of(datastore, "TYPE", -1)),
            "what it holds: images, running VMs (sys), files, backups",
            left=True,
        ),
        Column("DS", 7, lambda datastore, view: text_of(datastore, "DS_MAD", "-"), "datastore driver", left=True),
        Column("TM", 7, lambda datastore, view: text_of(datastore, "TM_MAD", "-"), "transfer driver", left=True),
        Column(
            "STAT",
            4,
            lambda datastore, view: word(DATASTORE_WORDS, integer_of(datastore, "STATE", -1)),
            "whether it may be used",
            left=True,
        ),
    ),
    default=("ID", "NAME", "SIZE", "AVA", "CLUSTERS", "IMAGES", "TYPE", "DS", "TM", "STAT"),
)


def print_datastore(datastore: Element) -> None:
    """Prints the datastore and the ids of its images."""
    amounts = [(f"{name}:", _amount(datastore, f"{name}_MB")) for name in ("TOTAL", "FREE", "USED")]
    limit = text_of(datastore, "TEMPLATE/LIMIT_MB")
    amounts.append(("LIMIT:", memory_text(float(limit) * _KB_PER_MB) if limit.isdigit() else "-"))
    print_screen(
        [*section(f"DATASTORE {text_of(datastore, 'ID')} INFORMATION"), *labels(_pairs(datastore), _LABEL)],
        [*section("DATASTORE CAPACITY"), *labels(amounts, _LABEL)],
        permissions(datastore, _LABEL),
        [*section("DATASTORE TEMPLATE"), *attributes(datastore.find("TEMPLATE"))],
        [*section("IMAGES"), *ids_of(datastore, "IMAGES")],
    )


def _pairs(datastore: Element) -> list[tuple[str, str]]:
    return [
        ("ID", text_of(datastore, "ID")),
        ("NAME", text_of(datastore, "NAME")),
        ("USER", text_of(datastore, "UNAME")),
        ("GROUP", text_of(datastore, "GNAME")),
        ("CLUSTERS", _clusters(datastore)),
        ("TYPE", word(DATASTORE_TYPE_NAMES, integer_of(datastore, "TYPE", -1))),
        ("DS_MAD", text_of(datastore, "DS_MAD")),
        ("TM_MAD", text_of(datastore, "TM_MAD")),
        ("BASE PATH", text_of(datastore, "BASE_PATH")),
        ("DISK_TYPE", word(_DISK_TYPES, integer_of(datastore, "DISK_TYPE", -1))),
        ("STATE", word(DATASTORE_NAMES, integer_of(datastore, "STATE", -1))),
    ]
