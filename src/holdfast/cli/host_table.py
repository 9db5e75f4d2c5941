"""The columns of ``onehost list``."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from holdfast.cli.states import HOST_WORDS, word
from holdfast.cli.table import Column, Table, View
from holdfast.cli.units import memory_text
from holdfast.cli.xmltree import integer_of, number_of, text_of

_USED_CPU = "MONITORING/CAPACITY/USED_CPU"
_USED_MEMORY = "MONITORING/CAPACITY/USED_MEMORY"


def _share(host: Element, path: str) -> float:
    return number_of(host, f"HOST_SHARE/{path}")


def _memory(amount_kb: float, view: View) -> str:
    return memory_text(amount_kb, raw=view.kilobytes)


def _part(used: float, total: float, shown_used: str, shown_total: str) -> str:
    return f"{shown_used} / {shown_total} ({int(used * 100 / total)}%)" if total > 0 else "-"


def _cpu_part(used: float, total: float) -> str:
    return _part(used, total, f"{used:g}", f"{total:g}")


def _memory_part(used_kb: float, total_kb: float, view: View) -> str:
    return _part(used_kb, total_kb, _memory(used_kb, view), _memory(total_kb, view))


def _real_cpu(host: Element, view: View) -> str:
    if not text_of(host, _USED_CPU):
        return "-"
    return _cpu_part(number_of(host, _USED_CPU), _share(host, "MAX_CPU"))


def _real_memory(host: Element, view: View) -> str:
    if not text_of(host, _USED_MEMORY):
        return "-"
    return _memory_part(number_of(host, _USED_MEMORY), _share(host, "MAX_MEM"), view)


def _free_cpu(host: Element, view: View) -> str:
    return f"{_share(host, 'MAX_CPU') - number_of(host, _USED_CPU):g}"


def _free_memory(host: Element, view: View) -> str:
    return _memory(_share(host, "MAX_MEM") - number_of(host, _USED_MEMORY), view)


def _unallocated_memory(host: Element, view: View) -> str:
    return _memory(_share(host, "MAX_MEM") - _share(host, "MEM_USAGE"), view)


HOST_TABLE = Table(
    columns=(
        Column("ID", 4, lambda host, view: text_of(host, "ID"), "identifier", adjust=True),
        Column("NAME", 15, lambda host, view: text_of(host, "NAME"), "name", left=True, expand=True),
        Column("CLUSTER", 10, lambda host, view: text_of(host, "CLUSTER"), "name of its cluster", left=True),
        Column("TVM", 3, lambda host, view: text_of(host, "HOST_SHARE/RUNNING_VMS", "0"), "VMs allocated to it"),
        Column(
            "ZVM",
            3,
            lambda host, view: text_of(host, "TEMPLATE/TOTAL_ZOMBIES", "0"),
            "domains there that should not be",
        ),
        Column("TCPU", 4, lambda host, view: f"{_share(host, 'MAX_CPU'):g}", "CPU in all, 100 per core"),
        Column("FCPU", 4, _free_cpu, "CPU that is idle"),
        Column(
            "ACPU",
            4,
            lambda host, view: f"{_share(host, 'MAX_CPU') - _share(host, 'CPU_USAGE'):g}",
            "CPU not yet allocated",
        ),
        Column("TMEM", 7, lambda host, view: _memory(_share(host, "MAX_MEM"), view), "memory in all"),
        Column("FMEM", 7, _free_memory, "memory that is free"),
        Column("AMEM", 7, _unallocated_memory, "memory not yet allocated"),
        Column(
            "ALLOCATED_CPU",
            18,
            lambda host, view: _cpu_part(_share(host, "CPU_USAGE"), _share(host, "MAX_CPU")),
            "CPU allocated, of all",
        ),
        Column("REAL_CPU", 18, _real_cpu, "CPU in use, of all"),
        Column(
            "ALLOCATED_MEM",
            18,
            lambda host, view: _memory_part(_share(host, "MEM_USAGE"), _share(host, "MAX_MEM"), view),
            "memory allocated, of all",
        ),
        Column("REAL_MEM", 18, _real_memory, "memory in use, of all"),
        Column("PROVIDER", 8, lambda host, view: text_of(host, "TEMPLATE/PROVISION/PROVIDER", "-"), "who provides it"),
        Column(
            "STAT",
            4,
            lambda host, view: word(HOST_WORDS, integer_of(host, "STATE", -1)),
            "state of monitoring",
            left=True,
        ),
    ),
    default=("ID", "NAME", "CLUSTER", "TVM", "ALLOCATED_CPU", "ALLOCATED_MEM", "STAT"),
)
