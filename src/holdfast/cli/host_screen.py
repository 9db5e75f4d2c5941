"""The screen of ``onehost show``."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from holdfast.cli import terminal
from holdfast.cli.screen import attributes, labels, print_screen, section, small_table
from holdfast.cli.states import HOST_NAMES, word
from holdfast.cli.table import Column, View, cells_of, render
from holdfast.cli.units import memory_text, time_text
from holdfast.cli.vm_table import VM_TABLE, vm_host
from holdfast.cli.xmltree import integer_of, number_of, text_of

_LABEL = 22
_KB_PER_MB = 1024
_WILD_COLUMNS = (
    Column("NAME", 30, lambda vm, view: text_of(vm, "VM_NAME"), left=True),
    Column("DEPLOY_ID", 48, lambda vm, view: text_of(vm, "DEPLOY_ID")),
)


def print_host(host: Element, vms: list[Element], now_s: float) -> None:
    """Prints the host, its load, its attributes and the VMs on it."""
    print_screen(
        _information(host),
        _shares(host),
        *(_datastore(datastore) for datastore in host.findall("HOST_SHARE/DATASTORES/DS")),
        [*section("MONITORING INFORMATION"), *attributes(host.find("TEMPLATE"), without=("VM",))],
        _wilds(host),
        [*section("VIRTUAL MACHINES"), *_vm_lines(host, vms, now_s)],
    )


def _information(host: Element) -> list[str]:
    return [
        *section(f"HOST {text_of(host, 'ID')} INFORMATION"),
        *labels(
            (
                ("ID", text_of(host, "ID")),
                ("NAME", text_of(host, "NAME")),
                ("CLUSTER", text_of(host, "CLUSTER")),
                ("STATE", word(HOST_NAMES, integer_of(host, "STATE", -1))),
                ("IM_MAD", text_of(host, "IM_MAD")),
                ("VM_MAD", text_of(host, "VM_MAD")),
                ("LAST MONITORING TIME", time_text(number_of(host, "MONITORING/TIMESTAMP"))),
            ),
            _LABEL,
        ),
    ]


def _shares(host: Element) -> list[str]:
    def share(path: str) -> float:
        return number_of(host, f"HOST_SHARE/{path}")

    def used(path: str) -> float:
        return number_of(host, f"MONITORING/CAPACITY/{path}")

    memory = ("TOTAL_MEM", "MAX_MEM"), "USED_MEMORY", "MEM_USAGE"
    cpu = ("TOTAL_CPU", "MAX_CPU"), "USED_CPU", "CPU_USAGE"
    lines = [*section("HOST SHARES"), *labels([("RUNNING VMS", text_of(host, "HOST_SHARE/RUNNING_VMS"))], _LABEL)]
    for title, ((total, reserved), real, allocated) in (("MEMORY", memory), ("CPU", cpu)):
        shown = memory_text if title == "MEMORY" else "{:g}".format
        lines += section(title)
        lines += labels(
            (
                ("  TOTAL", shown(share(total))),
                ("  TOTAL +/- RESERVED", shown(share(reserved))),
                ("  USED (REAL)", shown(used(real))),
                ("  USED (ALLOCATED)", shown(share(allocated))),
            ),
            _LABEL,
        )
    return lines


def _datastore(datastore: Element) -> list[str]:
    pairs = [
        (f"{name}:", memory_text(number_of(datastore, f"{name}_MB") * _KB_PER_MB)) for name in ("TOTAL", "USED", "FREE")
    ]
    return [*section(f"LOCAL SYSTEM DATASTORE #{text_of(datastore, 'ID')} CAPACITY"), *labels(pairs, _LABEL)]


def _wilds(host: Element) -> list[str]:
    wilds = [vm for vm in host.findall("TEMPLATE/VM") if text_of(vm, "VM_NAME")]
    return [*section("WILD VIRTUAL MACHINES"), *small_table(_WILD_COLUMNS, wilds)] if wilds else []


def _vm_lines(host: Element, vms: list[Element], now_s: float) -> list[str]:
    name = text_of(host, "NAME")
    columns = VM_TABLE.select(VM_TABLE.default)
    return render(columns, cells_of(columns, [vm for vm in vms if vm_host(vm) == name], View(now_s)), terminal.width())
