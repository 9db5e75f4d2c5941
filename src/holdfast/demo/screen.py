"""What the demo prints: progress, a live timeline, a table per VM, one line at the end."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.demo.findings import STEPS, ActFindings

_BOLD, _DIM, _RED, _GREEN, _YELLOW, _PLAIN = "\033[1m", "\033[2m", "\033[31m", "\033[32m", "\033[33m", "\033[0m"


class Screen:
    """A terminal of 80 columns, with colours only where there is one."""

    def __init__(self) -> None:
        self._colours = sys.stdout.isatty() and os.environ.get("NO_COLOR") is None

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._colours else text

    def title(self, text: str) -> None:
        """The beginning of something."""
        print(f"\n{self._in(_BOLD, text)}", flush=True)

    def say(self, text: str) -> None:
        """A line."""
        print(text, flush=True)

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """A step of the preparation, with the time it took."""
        started = time.monotonic()
        print(f"  {text} ...", end="", flush=True)
        try:
            yield
        except BaseException:
            print(flush=True)
            raise
        print(self._in(_DIM, f" {time.monotonic() - started:.1f} s"), flush=True)

    def event(self, seconds: float, who: str, what: str, good: bool | None = None) -> None:
        """A line of the live timeline."""
        colour = {True: _GREEN, False: _RED, None: ""}[good]
        print(f"  {seconds:6.2f} s  {who:<8} {self._in(colour, what) if colour else what}", flush=True)

    def table(self, act: ActFindings) -> None:
        """Seconds since the loss, per VM."""
        self.say(f"\n  {'VM':<6} {'HOST':<15} {'LOST':>6}" + "".join(f" {step.upper():>9}" for step in STEPS))
        for vm in act.vms:
            cells = "".join(f" {_seconds(vm.steps[step]):>9}" for step in STEPS)
            self.say(f"  {vm.name:<6} {vm.from_host + ' > ' + (vm.to_host or '?'):<15} {'0.00':>6}{cells}")
        self.say("")
        for name, ledger in act.ledgers.items():
            verdict = self._in(_GREEN, "clean") if ledger.ok else self._in(_RED, "NOT CLEAN")
            boots = f"{len(ledger.writers)} boot{'s' if len(ledger.writers) != 1 else ''}"
            details = f"{ledger.acknowledged} acknowledged writes, {len(ledger.lost)} lost"
            self.say(f"  ledger of {name:<6} {verdict}: {boots}, {details}, {len(ledger.overlaps)} overlaps")

    def verdict(self, act: ActFindings) -> None:
        """How the act went."""
        running = act.seconds_of("booted")
        if act.ok and running:
            said = f"first VM running after {min(running):.1f} s, last after {max(running):.1f} s"
            self.say(f"\n  {self._in(_GREEN, 'OK')}: {said}; proof: {act.proof}")
        for complaint in act.complaints:
            self.say(f"  {self._in(_RED, 'FAILED')}: {complaint}")


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
