"""The screen of ``onevm show``."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Sequence
from xml.etree.ElementTree import Element

from holdfast.cli.screen import attributes, labels, permissions, print_screen, section, small_table
from holdfast.cli.states import LOCK_NAMES, action_word, lcm_name, vm_name, word
from holdfast.cli.table import Column, Table, View
from holdfast.cli.terminal import PAGE_WIDTH, harmless
from holdfast.cli.units import memory_text, period_text, prolog_text, time_text
from holdfast.cli.vm_repair_table import repair_section
from holdfast.cli.vm_snapshot_table import DISK_SNAPSHOT_TABLE, SNAPSHOT_TABLE, disk_snapshots, system_snapshots
from holdfast.cli.vm_table import vm_host
from holdfast.cli.xmltree import integer_of, last_history, number_of, text_of
from holdfast.model.vm import SHOWN_WHILE_TRANSFERRED

_LABEL = 20
_KB_PER_MB = 1024
_BYTES_PER_KB = 1024
_SHOWN_ELSEWHERE = ("DISK", "NIC", "SECURITY_GROUP_RULE", "SNAPSHOT", "SCHED_ACTION")


def print_vm(vm: Element, now_s: float, everything: bool = False, repair: Element | None = None) -> None:
    """Prints the VM and the ``repair`` of its transfer; ``everything``: the template repeats what has a section."""
    template = vm.find("TEMPLATE")
    without = () if everything else _SHOWN_ELSEWHERE
    print_screen(
        _information(vm),
        _monitoring(vm),
        _transfer(vm),
        permissions(vm, _LABEL),
        _rows("VM DISKS", vm.findall("TEMPLATE/DISK"), _DISKS, now_s),
        _rows("VM DISK SNAPSHOTS", disk_snapshots(vm), _shown(DISK_SNAPSHOT_TABLE), now_s),
        _rows("VM NICS", vm.findall("TEMPLATE/NIC"), _NICS, now_s),
        _rows("SNAPSHOTS", system_snapshots(vm), _shown(SNAPSHOT_TABLE), now_s),
        _rows("VIRTUAL MACHINE HISTORY", vm.findall("HISTORY_RECORDS/HISTORY"), _HISTORY, now_s),
        repair_section(repair),
        [*section("USER TEMPLATE"), *attributes(vm.find("USER_TEMPLATE"), SHOWN_WHILE_TRANSFERRED)],
        [*section("VIRTUAL MACHINE TEMPLATE"), *attributes(template, without)],
    )


def _information(vm: Element) -> list[str]:
    pairs = [
        ("ID", text_of(vm, "ID")),
        ("NAME", text_of(vm, "NAME")),
        ("USER", text_of(vm, "UNAME")),
        ("GROUP", text_of(vm, "GNAME")),
        ("STATE", vm_name(integer_of(vm, "STATE"))),
        ("LCM_STATE", lcm_name(integer_of(vm, "LCM_STATE"))),
        ("LOCK", word(LOCK_NAMES, integer_of(vm, "LOCK/LOCKED"))),
        ("RESCHED", "Yes" if text_of(vm, "RESCHED") == "1" else "No"),
    ]
    history = last_history(vm)
    if history is not None and vm_host(vm):
        pairs += [("HOST", text_of(history, "HOSTNAME")), ("CLUSTER ID", text_of(history, "CID", "-1"))]
    pairs += [
        ("START TIME", time_text(number_of(vm, "STIME"))),
        ("END TIME", time_text(number_of(vm, "ETIME"))),
        ("DEPLOY ID", text_of(vm, "DEPLOY_ID", "-")),
    ]
    return [*section(f"VIRTUAL MACHINE {text_of(vm, 'ID')} INFORMATION"), *labels(pairs, _LABEL, 0)]


def _monitoring(vm: Element) -> list[str]:
    readings = [
        child for child in vm.findall("MONITORING/*") if len(child) == 0 and child.tag not in ("ID", "TIMESTAMP")
    ]
    if not readings:
        return []
    taken_s = number_of(vm, "MONITORING/TIMESTAMP")
    at = f" [{time.ctime(taken_s)}]" if taken_s else ""
    return [*section(f"VIRTUAL MACHINE MONITORING{at}"), *small_table(_READINGS, readings)]


def _transfer(vm: Element) -> list[str]:
    """The transfer that runs now, and how far it is."""
    template = vm.find("USER_TEMPLATE")
    if template is None or not text_of(template, "TRANSFER"):
        return []
    parts = _parts(harmless(text_of(template, "TRANSFER")), PAGE_WIDTH - _LABEL - 2)
    lines = labels([("STEP", text_of(template, "TRANSFER_STEP")), ("LINE", parts[0])], _LABEL, 0)
    lines += [f"{'':{_LABEL + 2}}{part}" for part in parts[1:]]
    total = number_of(template, "TRANSFER_TOTAL_BYTES")
    if total:
        done = number_of(template, "TRANSFER_BYTES")
        percent = text_of(template, "TRANSFER_PERCENT")
        copied = f"{percent} % ({memory_text(done / _BYTES_PER_KB)} of {memory_text(total / _BYTES_PER_KB)})"
        lines += labels([("COPIED", copied)], _LABEL, 0)
    return [*section("VIRTUAL MACHINE TRANSFER"), *lines]


def _parts(text: str, width: int) -> list[str]:
    """The text in pieces of at most this width, cut at blanks where there are any."""
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return [line[start : start + width] for line in lines for start in range(0, len(line), width)]


def _shown(table: Table) -> list[Column]:
    return table.select(table.default)


def _rows(title: str, rows: Sequence[Element], columns: Sequence[Column], now_s: float) -> list[str]:
    return [*section(title), *small_table(columns, rows, View(now_s), PAGE_WIDTH)] if rows else []


def _reading(reading: Element) -> str:
    text = reading.text or ""
    return memory_text(float(text)) if reading.tag == "MEMORY" and text.isdigit() else text


def _disk_size(disk: Element, view: View) -> str:
    return memory_text(number_of(disk, "SIZE") * _KB_PER_MB) if text_of(disk, "SIZE") else "-"


def _disk_source(disk: Element, view: View) -> str:
    return (
        text_of(disk, "IMAGE")
        or text_of(disk, "SOURCE")
        or f"{text_of(disk, 'TYPE', '-')} - {text_of(disk, 'FORMAT', '-')}"
    )


def _since(record: Element, view: View) -> str:
    begun_s = number_of(record, "STIME")
    return period_text((number_of(record, "ETIME") or view.now_s) - begun_s) if begun_s else "-"


def _prolog(record: Element, view: View) -> str:
    begun_s = number_of(record, "PSTIME")
    return prolog_text((number_of(record, "PETIME") or view.now_s) - begun_s).strip() if begun_s else "-"


def _known_id(element: Element, path: str) -> str:
    return text_of(element, path).replace("-1", "-") or "-"


_READINGS = (
    Column("METRIC", 20, lambda reading, view: reading.tag, left=True, adjust=True),
    Column("VALUE", 18, lambda reading, view: _reading(reading)),
)
_DISKS = (
    Column("ID", 3, lambda disk, view: text_of(disk, "DISK_ID")),
    Column("DATASTORE", 10, lambda disk, view: text_of(disk, "DATASTORE", "-"), left=True),
    Column("TARGET", 6, lambda disk, view: text_of(disk, "TARGET", "-"), left=True),
    Column("IMAGE", 35, _disk_source, left=True),
    Column("SIZE", 9, _disk_size),
    Column("TYPE", 4, lambda disk, view: text_of(disk, "TYPE").lower()[:4]),
    Column("SAVE", 4, lambda disk, view: text_of(disk, "SAVE", "NO")),
)
_NICS = (
    Column("ID", 3, lambda nic, view: text_of(nic, "NIC_ID")),
    Column("NETWORK", 20, lambda nic, view: text_of(nic, "NETWORK", "-"), left=True),
    Column("BRIDGE", 12, lambda nic, view: text_of(nic, "BRIDGE", "-"), left=True),
    Column("IP", 15, lambda nic, view: text_of(nic, "IP") or text_of(nic, "IP6", "-"), left=True),
    Column("MAC", 17, lambda nic, view: text_of(nic, "MAC", "-"), left=True),
    Column("PCI_ID", 8, lambda nic, view: text_of(nic, "PCI_ID"), left=True),
)
_HISTORY = (
    Column("SEQ", 3, lambda record, view: text_of(record, "SEQ"), adjust=True),
    Column("UID", 3, lambda record, view: _known_id(record, "UID"), left=True, adjust=True),
    Column("REQ", 3, lambda record, view: _known_id(record, "REQUEST_ID"), left=True, adjust=True),
    Column("HOST", 7, lambda record, view: text_of(record, "HOSTNAME"), left=True, expand=True),
    Column("ACTION", 12, lambda record, view: action_word(integer_of(record, "ACTION")), left=True, adjust=True),
    Column("DS", 2, lambda record, view: text_of(record, "DS_ID"), adjust=True),
    Column("START", 14, lambda record, view: time_text(number_of(record, "STIME"))),
    Column("TIME", 10, _since, adjust=True),
    Column("PROLOG", 8, _prolog, adjust=True),
)
"""OpenNebula's columns within a page: the actions are told in full, and the host's name gets the width that is left."""
