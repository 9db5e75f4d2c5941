"""The words of plans: every kind of entry, what it must say and what it may say besides.

Plans come from files as well as from seeds; whatever cannot be carried out is refused when the file is read, by the
name of the entry, instead of being taken for a fault of the engine in the middle of a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from holdfast.model.enums import EffectKind
from holdfast.simulation.bmc import Mood
from holdfast.simulation.drivers.luck import TURNS
from holdfast.simulation.operators import ACTIONS, DRIVEN, STATUS
from holdfast.simulation.plan import Entry, Plan
from holdfast.simulation.shell import Crash

_HOST, _LASTS, _BOTH = ("host",), ("for_s",), ("host", "for_s")
_PICKS = ("pick", "host")
ENTRIES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "power-off": (_BOTH, ()),
    "power-on": ((), _LASTS),
    "cut": ((*_BOTH, "direction"), ()),
    "beacons-late": ((*_BOTH, "delay_s"), ()),
    "storage-cut": (_BOTH, ()),
    "storage-stall": (_LASTS, ()),
    "controller-storage-cut": (_LASTS, ()),
    "bmc": ((*_BOTH, "mood"), ()),
    "clock": ((*_LASTS, "rate"), ()),
    "sleep": (_LASTS, ()),
    "drift": ((*_BOTH, "period_s"), ()),
    "agent-stop": (_BOTH, ()),
    "libvirtd-hang": (_BOTH, ()),
    "libvirtd-crash": (_BOTH, ()),
    "guest-ends": (("vm", "crashed"), ()),
    "driver": (("kind", "turn"), ("vm", "host", "times")),
    "crash": ((*_LASTS, "where"), ()),
    "store-refuses": (_LASTS, ()),
    "store-slow": ((*_LASTS, "commit_s"), ()),
    "vm": (("vm", "action"), ("host", "item")),
    "create": ((), ("hold", "template", "number")),
    "host": (("host", "action"), ()),
    "failover": (("id", "action"), ()),
    "user": (("vm", *_PICKS, "item"), ()),
    "operator": (_PICKS, ()),
}
"""By name: what it needs, and what it may have."""
WORDS: dict[tuple[str, str], frozenset[str]] = {
    ("cut", "direction"): frozenset(("up", "down", "both")),
    ("bmc", "mood"): frozenset(mood.value for mood in Mood),
    ("driver", "kind"): frozenset(kind.value for kind in EffectKind),
    ("driver", "turn"): frozenset(TURNS),
    ("crash", "where"): frozenset(crash.value for crash in Crash),
    ("vm", "action"): frozenset(ACTIONS),
    ("host", "action"): frozenset(STATUS),
    ("failover", "action"): frozenset(DRIVEN),
}
_FLAGS = ("crashed", "hold")
_TEXTS = ("template",)


def entries_of(told: Iterable[Mapping[str, Any]]) -> tuple[Entry, ...]:
    """Entries from a file, in the order of their times; raises ValueError when a plan cannot hold one of them."""
    entries = []
    for number, given in enumerate(told, 1):
        args = dict(given)
        at, what = args.pop("at", None), args.pop("what", None)
        if isinstance(at, bool) or not isinstance(at, int | float) or at < 0 or not isinstance(what, str):
            raise ValueError(f"entry {number} needs at (seconds) and what: {dict(given)}")
        check_entry(what, args)
        entries.append(Entry(float(at), what, args))
    return tuple(sorted(entries, key=lambda entry: entry.at))


def plan_from(told: Mapping[str, Any]) -> Plan:
    """The plan from plain values (those of :meth:`.Plan.as_json`); raises KeyError, TypeError or ValueError."""
    sizes = (int(told["seed"]), int(told["hosts"]), int(told["vms"]))
    times = (float(told["seconds"]), float(told["active_s"]))
    if min(*sizes[1:], *times) <= 0:
        raise ValueError("hosts, vms, seconds and active_s must be positive")
    apart = int(told.get("apart", 0))
    return Plan(*sizes, *times, str(told["hook"]), float(told["trouble"]), entries_of(told["entries"]), apart)


def check_entry(what: str, args: Mapping[str, Any]) -> None:
    """Raises ValueError when a plan cannot hold this."""
    if what not in ENTRIES:
        raise ValueError(f'there is no entry "{what}"; there are {", ".join(sorted(ENTRIES))}')
    needed, more = ENTRIES[what]
    missing = [name for name in needed if name not in args]
    if missing:
        raise ValueError(f"{what} needs {', '.join(missing)}")
    unknown = sorted(args.keys() - {*needed, *more})
    if unknown:
        raise ValueError(f"{what} does not know {', '.join(unknown)}")
    for name, value in args.items():
        _check_value(what, name, value)


def _check_value(what: str, name: str, value: Any) -> None:
    words = WORDS.get((what, name))
    if words is not None:
        if value not in words:
            raise ValueError(f'{what}: {name} is "{value}", it must be one of {", ".join(sorted(words))}')
    elif name in _FLAGS:
        if not isinstance(value, bool):
            raise ValueError(f"{what}: {name} is {value!r}, it must be true or false")
    elif name in _TEXTS:
        if not isinstance(value, str):
            raise ValueError(f"{what}: {name} is {value!r}, it must be a text")
    elif isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ValueError(f"{what}: {name} is {value!r}, it must be a number, not below 0")
