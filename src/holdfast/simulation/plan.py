"""The plan of a run: every fault and every operator's action with its time, drawn from the seed before it begins.

A run is its plan: left alone it is replayed to the letter, and with entries left out it is a shorter story.  Entries
hold numbers from 0 to 1 (``pick``) where the choice depends on what there is at that moment.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

FAULTS = ("power", "network", "storage", "bmc", "clock", "agent", "controller")
ACTIVE_SHARE = 0.65
"""So much of a run there are faults and operators; the rest is for healing."""
HEALING_S = 200.0
"""So long at least, however short the run: hosts have to boot, and steps to come to their deadlines."""
_FAULT_EVERY_S = 12.0
_USER_EVERY_S = 3.5
_OPERATOR_EVERY_S = 40.0
MODES = (*(("migrate",) * 8), "recreate", "delete")


@dataclass(frozen=True, slots=True)
class Options:
    """What ``holdfast simulate`` can be told about a run."""

    seed: int = 1
    hosts: int = 5
    vms: int = 40
    minutes: float = 10.0
    faults: tuple[str, ...] = FAULTS

    def command(self) -> str:
        """The command that repeats the run."""
        kinds = "" if set(self.faults) == set(FAULTS) else f" --faults {','.join(self.faults)}"
        return (
            f"holdfast simulate --seed {self.seed} --hosts {self.hosts} --vms {self.vms} "
            f"--minutes {self.minutes:g}{kinds}"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """Something that is done to the world, or asked of the controller, at a time (seconds from the beginning)."""

    at: float
    what: str
    args: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        told = " ".join(f"{key}={value}" for key, value in self.args.items())
        return f"{self.at:7.2f}  {self.what} {told}".rstrip()


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole run: the seed is what chance is made of, ``trouble`` how often drivers fail by themselves.

    Things go wrong for ``active_s``; from then to the end everything heals.  ``hook`` holds the mode and the flags of
    the failover that the hook opens.
    """

    seed: int
    hosts: int
    vms: int
    seconds: float
    active_s: float
    hook: str
    trouble: float
    entries: tuple[Entry, ...]
    apart: int = 0
    """Every so manieth VM is on a system datastore that is not shared; 0 is none."""

    def as_json(self) -> dict[str, Any]:
        """The plan as plain values."""
        return {
            "seed": self.seed,
            "hosts": self.hosts,
            "vms": self.vms,
            "seconds": self.seconds,
            "active_s": self.active_s,
            "hook": self.hook,
            "trouble": self.trouble,
            "apart": self.apart,
            "entries": [{"at": entry.at, "what": entry.what, **entry.args} for entry in self.entries],
        }


def draw(options: Options) -> Plan:
    """The plan that belongs to this seed."""
    random = Random(options.seed)
    active_s = options.minutes * 60 * ACTIVE_SHARE
    seconds = max(options.minutes * 60, active_s + HEALING_S)
    mode = random.choice(MODES)
    hook = f"{mode} PAUSE={random.choice((0, 1, 2, 5))}" + random.choice(("", "", "\nFORCE=YES"))
    entries = [
        *_times(random, active_s, _USER_EVERY_S, lambda at: _user(random, options, at)),
        *_times(random, active_s, _OPERATOR_EVERY_S, lambda at: _operator(random, at)),
    ]
    makers = [maker for kind in FAULTS if kind in options.faults for maker in _MAKERS[kind]]
    if makers:
        entries += _times(random, active_s, _FAULT_EVERY_S, lambda at: random.choice(makers)(random, options, at))
    if "power" in options.faults and options.hosts > 2 and random.random() < 0.25:
        entries += _several(random, options, random.uniform(10, active_s))
    trouble = random.choice((0.3, 1.0, 1.0, 2.0)) if makers else 0.0
    ordered = tuple(sorted(entries, key=lambda entry: entry.at))
    apart = random.choice((0, 2, 4))
    return Plan(options.seed, options.hosts, options.vms, seconds, active_s, hook, trouble, ordered, apart)


def _times(random: Random, until: float, every_s: float, make: Callable[[float], Entry]) -> Iterable[Entry]:
    at = random.expovariate(1 / every_s)
    while at < until:
        yield make(round(at, 3))
        at += random.expovariate(1 / every_s)


def _user(random: Random, options: Options, at: float) -> Entry:
    picks = {name: round(random.random(), 6) for name in ("vm", "pick", "host", "item")}
    return Entry(at, "user", picks)


def _operator(random: Random, at: float) -> Entry:
    return Entry(at, "operator", {name: round(random.random(), 6) for name in ("pick", "host")})


def _several(random: Random, options: Options, at: float) -> list[Entry]:
    """One cause takes several hosts at once."""
    count = random.randint(2, max(2, options.hosts - 1))
    what, args = random.choice((("power-off", {}), ("cut", {"direction": "both"})))
    for_s = _seconds(random, 5, 60)
    return [
        Entry(round(at + random.random(), 3), what, {"host": hid, **args, "for_s": for_s})
        for hid in sorted(random.sample(range(options.hosts), count))
    ]


def _seconds(random: Random, low: float, high: float) -> float:
    """Short times are as likely as long ones."""
    return round(low * math.pow(high / low, random.random()), 2)


Maker = Callable[[Random, Options, float], Entry]


def _on_host(what: str, low: float, high: float, **more: tuple[Any, ...]) -> Maker:
    """A fault of one host that lasts."""

    def make(random: Random, options: Options, at: float) -> Entry:
        args = {"host": random.randrange(options.hosts), **{key: random.choice(of) for key, of in more.items()}}
        return Entry(at, what, {**args, "for_s": _seconds(random, low, high)})

    return make


def _anywhere(what: str, low: float, high: float, **more: tuple[Any, ...]) -> Maker:
    """A fault of everything, or of the controller."""

    def make(random: Random, options: Options, at: float) -> Entry:
        args = {key: random.choice(of) for key, of in more.items()}
        return Entry(at, what, {**args, "for_s": _seconds(random, low, high)})

    return make


def _guest(random: Random, options: Options, at: float) -> Entry:
    return Entry(at, "guest-ends", {"vm": random.randrange(options.vms), "crashed": random.random() < 0.5})


_MAKERS: dict[str, tuple[Maker, ...]] = {
    "power": (
        _on_host("power-off", 8, 240),
        _on_host("power-off", 8, 240),
        _on_host("power-off", 0.3, 6),
        _anywhere("power-on", 1, 2),
    ),
    "network": (
        _on_host("cut", 0.5, 90, direction=("up", "down", "both", "both")),
        _on_host("cut", 0.5, 20, direction=("up", "down", "both")),
        _on_host("beacons-late", 2, 30, delay_s=(0.4, 0.9, 2.5)),
    ),
    "storage": (
        _on_host("storage-cut", 1, 60),
        _anywhere("storage-stall", 1, 90),
        _anywhere("controller-storage-cut", 1, 40),
    ),
    "bmc": (_on_host("bmc", 20, 300, mood=("slow", "dead", "refuses", "flapping", "lies", "lies")),),
    "clock": (
        _anywhere("clock", 10, 120, rate=(0.9, 0.97, 1.03, 1.1)),
        _anywhere("sleep", 0.5, 15),
        _on_host("drift", 10, 120, period_s=(0.9, 1.1, 1.3)),
    ),
    "agent": (
        _on_host("agent-stop", 1, 60),
        _on_host("libvirtd-hang", 1, 80),
        _on_host("libvirtd-crash", 1, 60),
        _guest,
        _guest,
    ),
    "controller": (
        _anywhere("crash", 1, 20, where=("now", "before-commit", "after-commit", "before-answer")),
        _anywhere("crash", 1, 20, where=("before-commit", "after-commit", "before-answer")),
        _anywhere("store-refuses", 0.5, 20),
        _anywhere("store-slow", 2, 30, commit_s=(0.05, 0.4, 2.0)),
    ),
}
