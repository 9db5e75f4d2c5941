"""Watches a failover from outside: through the API, and on the guests' consoles."""

from __future__ import annotations

import time
from xml.etree.ElementTree import Element

from holdfast.demo.findings import ActFindings, VmFindings
from holdfast.demo.screen import Screen
from holdfast.model.vm_states import LcmState
from holdfast.sandbox import ledger
from holdfast.sandbox.controller import Controller
from holdfast.sandbox.disks import find_disk
from holdfast.sandbox.errors import RackError

LOOK_EVERY_S = 0.1
FAILOVER_LIMIT_S = 90.0
_RUNNING = ("3", "3")
_FAILURES = {str(int(state)) for state in LcmState if state.name.endswith("_FAILURE")}


class Follower:
    """Prints what happens since the loss, and takes the times down."""

    def __init__(self, controller: Controller, act: ActFindings, screen: Screen) -> None:
        self._controller = controller
        self._act = act
        self._screen = screen
        self._shown_steps = 0
        self._lost_shown = False
        self._consoles = {vm.name: controller.rack.console(vm.name) for vm in act.vms}
        self._offsets = {name: path.stat().st_size for name, path in self._consoles.items()}
        self._up: set[str] = set()

    def follow(self) -> None:
        """Returns when all VMs write again, or when time is up."""
        ends = time.time() + FAILOVER_LIMIT_S
        while time.time() < ends:
            failover = self._failover()
            if failover is not None:
                self._read(failover)
            self._watch_guests()
            if failover is not None and self._is_over(failover):
                return
            time.sleep(LOOK_EVERY_S)
        self._act.problems.append(f"not over after {FAILOVER_LIMIT_S:.0f} s (failover {self._act.failover_state})")

    def _is_over(self, failover: Element) -> bool:
        state = failover.findtext("STATE_STR", "")
        if state == "BLOCKED":
            self._act.problems.append(f"failover BLOCKED: {failover.findtext('REASON')}")
            return True
        return state in ("DONE", "ABORTED") and all(vm.steps["writing"] is not None for vm in self._act.vms)

    def _failover(self) -> Element | None:
        for failover in self._controller.api.xml("one.failoverpool.info").findall("FAILOVER"):
            if failover.findtext("HOSTNAME") == self._act.lost_host:
                return failover
        return None

    def _since(self, text: str | None) -> float | None:
        at = float(text or 0)
        return at - self._act.lost_at if at > 0 else None

    def _read(self, failover: Element) -> None:
        self._act.failover_state = failover.findtext("STATE_STR", "")
        steps = failover.findall("STEPS/STEP")
        for step in steps[self._shown_steps :]:
            self._screen.event(
                self._since(step.findtext("TIME")) or 0.0, step.findtext("STATE", ""), step.findtext("TEXT", "")
            )
        self._shown_steps = len(steps)
        proof = failover.find("PROOFS/PROOF")
        if proof is not None:
            self._act.proof = f"{proof.findtext('KIND')} ({proof.findtext('TEXT')})"
            self._act.proof_raw = proof.findtext("RAW", "")
        rows = {row.findtext("NAME"): row for row in failover.findall("VMS/VM")}
        for vm in self._act.vms:
            vm.note("detected", self._since(steps[0].findtext("TIME") if steps else None))
            vm.note("proof", self._since(proof.findtext("TIME") if proof is not None else None))
            if vm.name in rows:
                self._read_row(vm, rows[vm.name])

    def _read_row(self, vm: VmFindings, row: Element) -> None:
        vm.to_host = row.findtext("TO", "")
        placed, booted = self._since(row.findtext("PLACED")), self._since(row.findtext("RUNNING"))
        if vm.note("placed", placed):
            self._screen.event(placed or 0.0, vm.name, f"placed on {vm.to_host}")
        if vm.note("booted", booted):
            self._screen.event(booted or 0.0, vm.name, f"RUNNING on {vm.to_host}", good=True)

    def _watch_guests(self) -> None:
        """The first acknowledged record of the new boot; its exact time comes from the ledger later."""
        for vm in self._act.vms:
            if vm.name in self._up or vm.steps["booted"] is None:
                continue
            with self._consoles[vm.name].open("rb") as console:
                console.seek(self._offsets[vm.name])
                fresh = console.read()
            if b"\nACK " in fresh.partition(b"\nUP ")[2]:
                self._up.add(vm.name)
                seconds = time.time() - self._act.lost_at
                vm.note("writing", seconds)
                self._screen.event(seconds, vm.name, "its guest writes to its disk again", good=True)


def judge_ledgers(controller: Controller, act: ActFindings, names: list[str]) -> None:
    """Reads every VM's ledger; the time of the first write of a new boot is corrected by what it says."""
    for name in names:
        disk, consoles = find_disk(controller.rack.directory, name)
        act.ledgers[name] = ledger.read(disk, consoles)
    for vm in act.vms:
        writers = act.ledgers[vm.name].writers
        if len(writers) != 2:
            act.problems.append(f"{vm.name} was written by {len(writers)} boots, expected 2")
        elif vm.steps["writing"] is not None:
            vm.steps["writing"] = round(writers[1].first_time - act.lost_at, 3)


def wait_for_guests(controller: Controller, names: list[str], limit_s: float) -> None:
    """Returns when all VMs are RUNNING and their guests write; raises TimeoutError naming those that do not."""
    ends = time.monotonic() + limit_s
    while True:
        pool = controller.api.xml("one.vmpool.info", -2, -1, -1, -1)
        states = {vm.findtext("NAME"): (vm.findtext("STATE"), vm.findtext("LCM_STATE")) for vm in pool.findall("VM")}
        failed = [name for name in names if name in states and states[name][1] in _FAILURES]
        if failed:
            raise RackError(_why_failed(controller, failed[0]))
        waiting = [name for name in names if states.get(name) != _RUNNING or not _writes(controller, name)]
        if not waiting:
            return
        if time.monotonic() > ends:
            raise TimeoutError(f"not running after {limit_s:.0f} s: {', '.join(waiting)}; see {controller.log}")
        time.sleep(LOOK_EVERY_S)


def _why_failed(controller: Controller, name: str) -> str:
    for vm in controller.api.xml("one.vmpool.infoextended", -2, -1, -1, -1).findall("VM"):
        if vm.findtext("NAME") == name:
            state = LcmState(int(vm.findtext("LCM_STATE", "0"))).name
            return f"{name} is in {state}: {vm.findtext('USER_TEMPLATE/ERROR') or 'no reason was given'}"
    return f"{name} is gone"


def _writes(controller: Controller, name: str) -> bool:
    path = controller.rack.console(name)
    return path.exists() and path.read_bytes().count(b"\nACK ") >= 3
