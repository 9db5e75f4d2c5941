"""Runs the acts that were asked for, writes the report, and ends with one line that says how it went."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

from holdfast.demo.acts import ACTS, Stage, play
from holdfast.demo.findings import ActFindings
from holdfast.demo.screen import Screen
from holdfast.sandbox import controller as controllers
from holdfast.sandbox import rack as racks
from holdfast.sandbox.errors import RackError
from holdfast.sandbox.guest.image import ensure_guest


def demo(args: argparse.Namespace) -> int:
    """``holdfast demo``; answers the exit code."""
    screen = Screen()
    started = time.monotonic()
    report: Path | None = args.report
    if report is not None and not report.absolute().parent.is_dir():
        screen.say(f"DEMO FAILED: cannot write {report}: {report.absolute().parent} is not a directory")
        return 1
    chosen = [act for act in ACTS if args.act in (act.key, "both")]
    acts: list[ActFindings] = []
    try:
        with screen.step("the guests' kernel and file system (built once)"):
            ensure_guest()
        for act in chosen:
            keep = args.keep and act is chosen[-1]
            stage = Stage(_directory(args.dir), args.hosts, args.vms, args.pause, keep)
            acts.append(play(act, stage, screen))
            if keep:
                _say_how_to_play(screen, stage.directory)
    except (RackError, TimeoutError, OSError) as error:
        screen.say(f"\nDEMO FAILED: {error}")
        _write(report, acts, complete=False)
        return 1
    _write(report, acts, complete=True)
    return _verdict(screen, acts, time.monotonic() - started)


def _directory(given: Path | None) -> Path:
    """A directory of the demo's own, short enough for the sockets in it."""
    if given is not None:
        return given.absolute()
    return Path(tempfile.mkdtemp(prefix=f"holdfast-{os.getuid()}-", dir="/var/tmp"))


def _verdict(screen: Screen, acts: list[ActFindings], took_s: float) -> int:
    ok = all(act.ok for act in acts)
    vms = sum(len(act.vms) for act in acts)
    slowest = max((max(act.seconds_of("booted"), default=0.0) for act in acts), default=0.0)
    if ok:
        told = f"{len(acts)} hosts lost, {vms} VMs back within {slowest:.1f} s, every ledger clean"
        screen.say(f"\nDEMO OK: {told} ({took_s:.0f} s in all)")
        return 0
    screen.say(f"\nDEMO FAILED: {'; '.join(line for act in acts for line in act.complaints)}")
    return 1


def _write(report: Path | None, acts: list[ActFindings], complete: bool) -> None:
    if report is not None:
        ok = complete and bool(acts) and all(act.ok for act in acts)
        text = json.dumps({"ok": ok, "acts": [act.as_json() for act in acts]}, indent=2)
        report.write_text(text + "\n", encoding="utf-8")


def _say_how_to_play(screen: Screen, directory: Path) -> None:
    rack = racks.attach(directory)
    screen.title("It is all still running. To play with it:")
    for name, value in controllers.attach(rack).environment.items():
        screen.say(f"  export {name}={value}")
    screen.say("  onehost list; onevm list; onehost failover list; onehost failover show 0")
    for command in ("status", "power-on host1", "power-off host2", "cut host3", "ledger vm1", "down"):
        screen.say(f"  holdfast sandbox {command} --dir {directory}")
