"""The columns of ``onevm list``."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from holdfast.cli.states import vm_word
from holdfast.cli.table import Column, Table, View
from holdfast.cli.units import memory_text, period_text
from holdfast.cli.xmltree import integer_of, last_history, number_of, text_of
from holdfast.model.vm_states import VmState

_ON_A_HOST = {VmState.ACTIVE, VmState.SUSPENDED, VmState.POWEROFF}
_KB_PER_MB = 1024


def vm_host(vm: Element) -> str:
    """The host that holds the VM, empty when none does."""
    history = last_history(vm)
    if history is None or integer_of(vm, "STATE") not in _ON_A_HOST:
        return ""
    return text_of(history, "HOSTNAME")


def _name(vm: Element, view: View) -> str:
    mark = "*" if text_of(vm, "RESCHED") == "1" else ""
    return mark + text_of(vm, "NAME")


def _cluster(vm: Element, view: View) -> str:
    history = last_history(vm) if vm_host(vm) else None
    return text_of(history, "CID") if history is not None else ""


def _time(vm: Element, view: View) -> str:
    end_s = number_of(vm, "ETIME") or view.now_s
    return period_text(end_s - number_of(vm, "STIME"))


def _addresses(vm: Element, view: View) -> str:
    found = (text_of(nic, "IP") or text_of(nic, "IP6") for nic in vm.findall("TEMPLATE/NIC"))
    return ",".join(address for address in found if address)


VM_TABLE = Table(
    columns=(
        Column("ID", 4, lambda vm, view: text_of(vm, "ID"), "identifier", adjust=True),
        Column("NAME", 15, _name, "name; * = waits to be moved (resched)", left=True, expand=True),
        Column("USER", 8, lambda vm, view: text_of(vm, "UID" if view.numeric else "UNAME"), "owner", left=True),
        Column("GROUP", 8, lambda vm, view: text_of(vm, "GID" if view.numeric else "GNAME"), "group", left=True),
        Column("STAT", 4, lambda vm, view: vm_word(integer_of(vm, "STATE"), integer_of(vm, "LCM_STATE")), "state"),
        Column("CPU", 4, lambda vm, view: text_of(vm, "TEMPLATE/CPU"), "CPU asked for"),
        Column(
            "MEM",
            7,
            lambda vm, view: memory_text(number_of(vm, "TEMPLATE/MEMORY") * _KB_PER_MB, raw=view.kilobytes),
            "memory asked for",
        ),
        Column("HOST", 10, lambda vm, view: vm_host(vm), "host that holds it", left=True, expand=True),
        Column("CLUSTER", 10, _cluster, "cluster of that host", left=True),
        Column("TIME", 10, _time, "time since it was created"),
        Column("IP", 15, _addresses, "addresses", left=True),
    ),
    default=("ID", "USER", "GROUP", "NAME", "STAT", "CPU", "MEM", "HOST", "TIME"),
    selections={"user": ("ID", "NAME", "IP", "STAT", "CPU", "MEM", "HOST", "TIME")},
)
