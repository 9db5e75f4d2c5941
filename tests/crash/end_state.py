"""What an installation looks like when it has come to rest: lines that two runs can be compared by.

Everything the store holds, every file of the VMs, and the world outside, without what no two runs have in common:
times (only whether there is one), process ids, random names.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from holdfast.drivers.tm.home import MARK
from holdfast.model.effect import Effect
from holdfast.model.hook import HookExecution
from holdfast.model.template import Template
from holdfast.store.sqlite import SqliteStore
from tests.crash.site import Site
from tests.crash.world_driver import BLOCK

TIMES = frozenset(
    "stime etime pstime petime rstime retime estime eetime at started_at placed_at running_at deadline "
    "planned_at ended_at error_since last_seen regtime modtime lock_time timestamp date TIME DATE".split()
)
"""Fields of which only counts whether they are set."""
VOLATILE = frozenset({"effect_id", "last_poll", "monitoring", "total_mb", "free_mb", "used_mb", "promised_mb"})
"""What is awaited, and what was measured of the world at some moment."""
UNLIKE = re.compile(
    r"Failover \d+\.(steps|evidence|next_probe)|Failover \d+\.rows\[\d+\]\.reason|Proof \d+\.(kind|text|raw)"
    r"|effect fence\.|Host \d+\.template/\d+ ERROR"
)
"""What tells how the death of a host came to be known: a controller that was killed has looked twice, and says so."""
_IMAGE = re.compile(r"(?<![0-9a-f])[0-9a-f]{24}([0-9a-f]{8})(?![0-9a-f])")
"""The name of an image's file: time and id."""
_STAMP = re.compile(r"\b(?:\w{3} \w{3} +\d+ \d\d:\d\d:\d\d \d{4}|\d+\.\d+ s)\b")
_MARKS = 64


def end_state(site: Site) -> list[str]:
    """All lines, in an order that depends on nothing but the installation; the controller must be dead."""
    lines = (*_stored(site), *_journal(site), *_world(site), *_files(site))
    return [_IMAGE.sub(r"…\1", line) for line in lines if not UNLIKE.match(line)]


def _stored(site: Site) -> Iterator[str]:
    store = SqliteStore(site.var / "holdfast.db")
    try:
        snapshot = store.load()
    finally:
        store.close()
    for stored in sorted(snapshot.objects, key=lambda one: (type(one).__name__, one.oid)):
        if not isinstance(stored, Effect):
            yield from _flat(f"{type(stored).__name__} {stored.oid}", stored)
    for execution in snapshot.executions:
        yield from _execution(execution)


def _execution(execution: HookExecution) -> Iterator[str]:
    yield f"hook {execution.hook_id} execution {execution.execution_id} ended with {execution.code}"


def _flat(path: str, value: object, name: str = "") -> Iterator[str]:
    """One line for each leaf."""
    if name in VOLATILE:
        return
    if name in TIMES:
        yield f"{path} is {'set' if value and str(value) not in ('0', '0.0') else 'not set'}"
    elif isinstance(value, Template):
        for number, (key, inner) in enumerate(value.pairs):
            yield from _flat(f"{path}/{number} {key}", inner, key)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from _flat(f"{path}.{field.name}", getattr(value, field.name), field.name)
    elif isinstance(value, Mapping):
        for key, inner in sorted(value.items()):
            yield from _flat(f"{path}/{key}", inner, key)
    elif isinstance(value, tuple | list):
        yield from _items(path, value)
    else:
        text = value.name if isinstance(value, Enum) else str(value)
        yield f"{path} = {_STAMP.sub('…', text)}"


def _items(path: str, values: tuple[Any, ...] | list[Any]) -> Iterator[str]:
    if not values:
        yield f"{path} is empty"
    for number, inner in enumerate(values):
        yield from _flat(f"{path}[{number}]", inner)


def _journal(site: Site) -> Iterator[str]:
    """Which effects there were, and how each ended."""
    with site.journal() as database:
        rows = database.execute("SELECT kind, subject, state FROM effect ORDER BY kind, subject, oid").fetchall()
    for kind, subject, state in rows:
        yield f"effect {kind} of {subject}: {state}"


def _world(site: Site) -> Iterator[str]:
    hosts = site.world.look()
    for domain in sorted(hosts.domains, key=lambda one: (one.vm_id, one.host_id)):
        yield f"world: {domain}"
    yield f"world: boots {hosts.boots}"
    yield from (f"world: VIOLATION: {text}" for text in hosts.violations)
    for host_id, switch in sorted(hosts.power.items()):
        yield f"world: power of host {host_id} {Path(switch).read_text(encoding='ascii').strip()}"


def _files(site: Site) -> Iterator[str]:
    for path in sorted((site.var / "datastores").rglob("*")):
        if path.name == MARK:
            continue  # it names paths of this run
        name = path.relative_to(site.var)
        if path.is_symlink():
            yield f"file {name} leads to {path.readlink()}"
        elif path.is_file():
            yield f"file {name} of {_size(path)}"
            yield from (f"file {name} holds: {mark}" for mark in _marks(path))
        else:
            yield f"folder {name}"


def _size(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(4)
    return "qcow2" if head == b"QFI\xfb" else f"{path.stat().st_size} bytes"


def _marks(path: Path) -> Iterator[str]:
    """What guests wrote, and what a checkpoint holds."""
    with path.open("rb") as file:
        if path.name == "checkpoint":
            yield file.read(100).decode(errors="replace")
        for number in range(1, _MARKS):
            file.seek(number * BLOCK)
            text = file.read(40)
            if text.startswith(b"boot "):
                yield text.partition(b"\0")[0].decode(errors="replace")
