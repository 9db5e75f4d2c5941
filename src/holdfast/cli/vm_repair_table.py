"""The section of ``onevm show`` about the repair of a failed transfer: who did what, when, and what came of it."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from holdfast.cli.errors import ApiError
from holdfast.cli.rpc import Client
from holdfast.cli.screen import section, small_table
from holdfast.cli.table import Column
from holdfast.cli.terminal import PAGE_WIDTH
from holdfast.cli.units import time_text
from holdfast.cli.xmltree import number_of, text_of


def repair_of(client: Client, vm: Element) -> Element | None:
    """The repair that the VM speaks of; None when it speaks of none, or this server knows none."""
    if not text_of(vm, "USER_TEMPLATE/REPAIR"):
        return None
    try:
        return client.document("one.vm.repairinfo", int(text_of(vm, "ID")))
    except ApiError:
        return None


def repair_section(repair: Element | None) -> list[str]:
    """What is kept of its records."""
    records = repair.findall("RECORDS/RECORD") if repair is not None else []
    return [*section("TRANSFER REPAIR"), *small_table(_RECORDS, records, width=PAGE_WIDTH)] if records else []


def _action(record: Element) -> str:
    return text_of(record, "ACTION").removeprefix("0") or "-"


def _result(record: Element) -> str:
    result = text_of(record, "RESULT")
    return "" if result == "NONE" else result


_RECORDS = (
    Column("ID", 3, lambda record, view: text_of(record, "ID"), adjust=True),
    Column("TIME", 14, lambda record, view: time_text(number_of(record, "TIME"))),
    Column("USER", 8, lambda record, view: text_of(record, "UNAME"), left=True, adjust=True),
    Column("SEAT", 10, lambda record, view: text_of(record, "SEAT"), left=True, expand=True),
    Column("DEED", 9, lambda record, view: text_of(record, "DEED"), left=True, adjust=True),
    Column("ACT", 3, lambda record, view: _action(record), adjust=True),
    Column("RESULT", 9, lambda record, view: _result(record), left=True, adjust=True),
)
