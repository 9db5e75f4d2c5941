"""What a scenario expects: of a VM, a host or a failover at a time or at the end, and of the order of its story.

``[[expect]]`` holds one of

* ``vm`` (number, list, or "all") with ``state``, ``host``, ``not_on``, ``runs`` (really, in the world), ``reason``
* ``host`` with ``state``, ``vms`` (how many), ``error``
* ``failover`` with ``state``, ``reason``, ``proof`` (its kind, "none" without), ``count`` of all failovers, and of one
  ``row`` (a VM's number) ``row_state`` and ``row_reason``
* ``order``: patterns that the story's lines match one after the other
* ``never``: a pattern that no line matches
* ``times``: a pattern, and how many lines match it: ``count``, ``at_least`` or ``at_most``
* ``after``, ``then`` and ``within_s``, ``not_before_s``: how soon one line follows another

and may say ``at`` (seconds), else it is meant at the end.  Patterns are regular expressions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.engine.state import State
from holdfast.model.failover import Failover
from holdfast.model.vm import Vm
from holdfast.simulation.checkers.reference import position_of

if TYPE_CHECKING:
    from holdfast.simulation.run import Simulation


@dataclass(frozen=True, slots=True)
class Expectation:
    """One expectation; ``disappointed`` tells what is otherwise, nothing when all is as expected."""

    at: float | None
    kind: str
    told: dict[str, Any]

    def disappointed(self, simulation: Simulation) -> Iterator[str]:
        """Every way in which it is otherwise."""
        when = "at the end" if self.at is None else f"after {self.at:g} s"
        yield from (f"{when}: {said}" for said in _LOOKS[self.kind](simulation, self.told))


def expectation(told: dict[str, Any]) -> Expectation:
    """From a file; raises ValueError when it expects nothing that is known."""
    at = told.pop("at", None)
    kind = next((key for key in _LOOKS if key in told), "")
    if not kind:
        raise ValueError(f"[[expect]] needs one of {', '.join(_LOOKS)}: {told}")
    unknown = told.keys() - {kind} - _DETAILS[kind]
    if unknown:
        raise ValueError(f"[[expect]] {kind} does not know {', '.join(sorted(unknown))}")
    if kind == "then" and "after" not in told:
        raise ValueError(f"[[expect]] then needs after: {told}")
    if kind in ("order", "never", "times", "then"):
        for pattern in told["order"] if kind == "order" else (told[name] for name in ("after", kind) if name in told):
            _check_pattern(pattern)
    return Expectation(None if at is None else float(at), kind, told)


def _check_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None


def _state(simulation: Simulation) -> State | None:
    engine = simulation.shell.engine
    return engine.state if engine is not None else None


def _vm(simulation: Simulation, told: dict[str, Any]) -> Iterator[str]:
    state = _state(simulation)
    if state is None:
        yield "no controller runs"
        return
    wanted = told["vm"]
    vm_ids = list(state.vms) if wanted == "all" else wanted if isinstance(wanted, list) else [wanted]
    for vm_id in vm_ids:
        vm = state.vms.get(vm_id)
        if vm is None:
            yield f"there is no VM {vm_id}"
        else:
            yield from _one_vm(simulation, vm, told)


def _one_vm(simulation: Simulation, vm: Vm, told: dict[str, Any]) -> Iterator[str]:
    if "state" in told and position_of(vm) not in _several(told["state"]):
        yield f"VM {vm.oid} is {position_of(vm)}, not {told['state']}"
    if "host" in told and vm.hid not in _several(told["host"]):
        yield f"VM {vm.oid} is on host {vm.hid}, not {told['host']}"
    if vm.hid in _several(told.get("not_on", [])):
        yield f"VM {vm.oid} is on host {vm.hid}"
    runs = simulation.world.running_on(vm.oid)
    if "runs" in told and bool(runs) is not told["runs"]:
        yield f"VM {vm.oid} really runs on {runs}"
    said = f"{vm.user_template.get('ERROR')} {vm.user_template.get('SCHED_MESSAGE')}"
    if "reason" in told and not re.search(told["reason"], said):
        yield f"VM {vm.oid} says {said!r}, nothing like {told['reason']!r}"


def _several(wanted: Any) -> list[Any]:
    return wanted if isinstance(wanted, list) else [wanted]


def _host(simulation: Simulation, told: dict[str, Any]) -> Iterator[str]:
    state = _state(simulation)
    host = state.hosts.get(told["host"]) if state is not None else None
    if host is None:
        yield f"host {told['host']} is not known"
        return
    if "state" in told and host.state.name not in _several(told["state"]):
        yield f"host {host.oid} is {host.state.name}, not {told['state']}"
    if "vms" in told and len(host.vms) != told["vms"]:
        yield f"host {host.oid} has VMs {host.vms}, not {told['vms']} of them"
    error = host.template.get("ERROR")
    if "error" in told and not re.search(told["error"], error):
        yield f"host {host.oid} says {error!r}, nothing like {told['error']!r}"


def _failover(simulation: Simulation, told: dict[str, Any]) -> Iterator[str]:
    state = _state(simulation)
    failovers = state.failovers if state is not None else {}
    if "count" in told and len(failovers) != told["count"]:
        yield f"there are {len(failovers)} failovers, not {told['count']}"
    failover = failovers.get(told["failover"])
    if failover is None:
        if told.get("count") != 0:
            yield f"there is no failover {told['failover']}"
        return
    if "state" in told and failover.state.name not in _several(told["state"]):
        yield f"failover {failover.oid} is {failover.state.name} ({failover.reason}), not {told['state']}"
    if "reason" in told and not re.search(told["reason"], failover.reason):
        yield f"failover {failover.oid} says {failover.reason!r}, nothing like {told['reason']!r}"
    if "proof" in told:
        proof = state.proofs.get(failover.proof_id) if state is not None else None
        kind = proof.kind.name if proof is not None else "none"
        if kind not in _several(told["proof"]):
            yield f"failover {failover.oid} has proof {kind}, not {told['proof']}"
    if "row" in told:
        yield from _row(failover, told)


def _row(failover: Failover, told: dict[str, Any]) -> Iterator[str]:
    row = next((row for row in failover.rows if row.vm_id == told["row"]), None)
    if row is None:
        yield f"failover {failover.oid} has no row for VM {told['row']}"
        return
    if "row_state" in told and row.state.name not in _several(told["row_state"]):
        yield f"VM {row.vm_id} in failover {failover.oid} is {row.state.name} ({row.reason}), not {told['row_state']}"
    if "row_reason" in told and not re.search(told["row_reason"], row.reason):
        yield f"VM {row.vm_id} in failover {failover.oid}: {row.reason!r}, nothing like {told['row_reason']!r}"


def _order(simulation: Simulation, told: dict[str, Any]) -> Iterator[str]:
    patterns = list(told["order"])
    for line in simulation.story.lines():
        if patterns and re.search(patterns[0], line):
            patterns.pop(0)
    if patterns:
        yield f"the story never comes to {patterns[0]!r} (in this order)"


def _never(simulation: Simulation, told: dict[str, Any]) -> Iterator[str]:
    for line in simulation.story.lines():
        if re.search(told["never"], line):
            yield f"it was not to happen: {line.strip()}"
            return


def _times(simulation: Simulation, told: dict[str, Any]) -> Iterator[str]:
    found = sum(1 for line in simulation.story.lines() if re.search(told["times"], line))
    low = told.get("count", told.get("at_least", 0))
    high = told.get("count", told.get("at_most", found))
    if not low <= found <= high:
        wanted = f"{low}" if low == high else f"{low} to {high}"
        yield f"{told['times']!r} happened {found} times, not {wanted}"


def _then(simulation: Simulation, told: dict[str, Any]) -> Iterator[str]:
    begun: float | None = None
    for line in simulation.story.lines():
        at = float(line.split(None, 1)[0])
        if begun is None and re.search(told["after"], line):
            begun = at
        elif begun is not None and re.search(told["then"], line):
            took_s = at - begun
            if took_s > told.get("within_s", took_s):
                yield f"{told['then']!r} came {took_s:.1f} s after {told['after']!r}, not within {told['within_s']} s"
            if took_s < told.get("not_before_s", 0.0):
                yield f"{told['then']!r} came {took_s:.1f} s after {told['after']!r}, before {told['not_before_s']} s"
            return
    yield f"{told['then']!r} never came after {told['after']!r}"


Look = Callable[["Simulation", dict[str, Any]], Iterator[str]]
_LOOKS: dict[str, Look] = {
    "vm": _vm,
    "failover": _failover,
    "host": _host,
    "order": _order,
    "never": _never,
    "times": _times,
    "then": _then,
}
_DETAILS: dict[str, set[str]] = {
    "vm": {"state", "host", "not_on", "runs", "reason"},
    "host": {"state", "vms", "error"},
    "failover": {"state", "reason", "count", "proof", "row", "row_state", "row_reason"},
    "order": set(),
    "never": set(),
    "times": {"count", "at_least", "at_most"},
    "then": {"after", "within_s", "not_before_s"},
}
