"""``holdfast demo`` keeps its promises: what its report says, and what the controller has stored."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from holdfast.sandbox import controller as controllers
from holdfast.sandbox import rack as racks
from tests.e2e.daemon import BIN

pytestmark = pytest.mark.rack
LIMIT_S = 180
STEPS = ("detected", "proof", "placed", "booted", "writing")
VMS = 3


@dataclass(frozen=True)
class Played:
    """An act that was played, and whose rack was kept."""

    directory: Path
    output: str
    report: dict[str, Any]

    @property
    def act(self) -> dict[str, Any]:
        """The one act."""
        [act] = self.report["acts"]
        found: dict[str, Any] = act
        return found


@pytest.fixture
def directory() -> Iterator[Path]:
    """A short path on a real disk; whatever is up there afterwards is ended."""
    scratch = Path(tempfile.mkdtemp(prefix="hf-", dir="/var/tmp"))
    try:
        yield scratch / "rack"
    finally:
        controllers.stop(scratch / "rack")
        racks.remove(scratch / "rack")
        for left in scratch.iterdir():
            left.unlink()
        scratch.rmdir()


def holdfast(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(BIN / "holdfast"), *words], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


def play(act: str, directory: Path) -> Played:
    """Plays the act and keeps its rack."""
    report = directory.parent / "report.json"
    size = ("--hosts", "3", "--vms", str(VMS), "--pause", "1")
    done = holdfast("demo", "--act", act, *size, "--keep", "--report", str(report), "--dir", str(directory))
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    return Played(directory, done.stdout, json.loads(report.read_text(encoding="utf-8")))


def check_report(played: Played, storage: str) -> None:
    """Every VM of the lost host came back, in the order of the steps, with one writer at any time."""
    act = played.act
    assert played.report["ok"] is True
    assert (act["ok"], act["storage"], act["failover"], act["complaints"]) == (True, storage, "DONE", [])
    assert act["vms"], "a host without VMs shows nothing"
    for name, vm in act["vms"].items():
        times = [vm[step] for step in STEPS]
        assert None not in times, (name, vm)
        assert times[:4] == sorted(times[:4]), (name, vm)
        assert vm["booted"] < vm["writing"], (name, vm)
        assert vm["from"] == act["lost_host"] != vm["to"]
    assert len(act["ledger"]) == VMS
    for name, ledger in act["ledger"].items():
        assert ledger["ok"] is True, (name, ledger)
        assert len(ledger["writers"]) == (2 if name in act["vms"] else 1), (name, ledger)
    assert "DEMO OK: 1 hosts lost" in played.output


def check_stored(played: Played) -> Any:
    """What the controller has stored: no VM was ordered to start before there was a proof.  Answers the proof."""
    rack = racks.attach(played.directory)
    api = controllers.attach(rack).api
    [failover] = api.xml("one.failoverpool.info").findall("FAILOVER")
    api.close()
    assert failover.findtext("STATE_STR") == "DONE"
    [proof] = failover.findall("PROOFS/PROOF")
    rows = failover.findall("VMS/VM")
    assert {row.findtext("NAME") for row in rows} == set(played.act["vms"])
    for row in rows:
        assert row.findtext("PROOF_ID") == proof.findtext("ID")
        placed, started, ran = (float(row.findtext(name, "0")) for name in ("PLACED", "STARTED", "RUNNING"))
        assert float(proof.findtext("TIME", "inf")) <= placed <= started <= ran
    assert [host.name for host in rack.hosts if not host.powered] == [played.act["lost_host"]]
    return proof


def test_a_host_that_loses_its_power_has_its_vms_back(directory: Path) -> None:
    played = play("power", directory)
    check_report(played, "dir")
    assert check_stored(played).findtext("KIND") in ("POWER_OFF", "FENCED")
    environment = dict(line.split()[1].split("=", 1) for line in played.output.splitlines() if "export ONE" in line)
    shown = subprocess.run(
        [str(BIN / "onehost"), "failover", "show", "0"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=True,
    )
    assert "PROOF OF DEATH" in shown.stdout
    assert "the rack is down" in holdfast("sandbox", "down", "--dir", str(directory)).stdout
    assert not directory.exists()


def test_a_host_that_is_cut_off_is_fenced_before_its_vms_are_started_elsewhere(directory: Path) -> None:
    played = play("network", directory)
    check_report(played, "nbd")
    proof = check_stored(played)
    assert proof.findtext("KIND") == "FENCED", "its power was on: nothing else can be the proof"
    assert "Success: Powered OFF" in proof.findtext("RAW", "")
    assert "Status: OFF" in proof.findtext("RAW", "")


def test_a_demo_that_cannot_begin_fails_and_says_why(directory: Path) -> None:
    directory.mkdir()
    (directory / "precious").touch()
    done = holdfast("demo", "--act", "power", "--dir", str(directory))
    assert done.returncode == 1
    assert "DEMO FAILED" in done.stdout
    assert "not the directory of a rack" in done.stdout
    (directory / "precious").unlink()
