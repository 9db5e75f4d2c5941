"""What scenarios can do and expect: faults of drivers on purpose, and every kind of ``[[expect]]``."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.simulation.scenario import Verdict, load, play

DIES = """
title = "Host 0 dies, the first start of its VM fails"
hosts = 3
vms = 3
seconds = 60
pause = 2
do = [
    {{ at = 1, what = "driver", kind = "vmm.deploy", vm = 0, turn = "fails", times = {times} }},
    {{ at = 10, what = "power-off", host = 0, for_s = 1000 }},
]
expect = [{{ {expect} }}]
"""
DEPLOYED = "driver: vmm.deploy .* of 0 on .*Answer.ok"


def _played(path: Path, expect: str, times: int = 1) -> Verdict:
    (path / "one.toml").write_text(DIES.format(expect=expect, times=times), encoding="utf-8")
    return play(load(path / "one.toml"))


@pytest.mark.parametrize(
    "expect",
    [
        'vm = 0, state = "RUNNING", host = [1, 2], runs = true',
        'vm = [1, 2], state = "RUNNING"',
        'at = 9, vm = "all", state = "RUNNING"',
        'host = 0, state = "ERROR", vms = 0, error = "Error monitoring"',
        'failover = 0, state = "DONE", count = 1, proof = "POWER_OFF"',
        'failover = 0, row = 0, row_state = "RUNNING"',
        f'times = "{DEPLOYED}=False", count = 1',
        f'times = "{DEPLOYED}", at_least = 2, at_most = 2',
        'order = ["fault: power-off", "vm 0: BOOT -> BOOT_FAILURE", "vm 0: BOOT -> RUNNING"]',
        'never = "vm 1: RUNNING ->"',
        'after = "fault: power-off", then = "vm 0: BOOT -> RUNNING", within_s = 20, not_before_s = 4',
    ],
)
def test_what_comes_out_as_expected_is_well(expect: str, tmp_path: Path) -> None:
    assert _played(tmp_path, expect).wrong == []


@pytest.mark.parametrize(
    ("expect", "said"),
    [
        ('vm = 0, state = "POWEROFF"', "VM 0 is RUNNING, not POWEROFF"),
        ("vm = 0, host = 0", "VM 0 is on host"),
        ("vm = 7", "there is no VM 7"),
        ("vm = 1, runs = false", "VM 1 really runs on [1]"),
        ('host = 1, state = "ERROR"', "host 1 is MONITORED, not ERROR"),
        ("failover = 3", "there is no failover 3"),
        ('failover = 0, proof = "FENCED"', "failover 0 has proof POWER_OFF, not FENCED"),
        ("failover = 0, row = 1", "failover 0 has no row for VM 1"),
        ('failover = 0, row = 0, row_state = "SKIPPED"', "VM 0 in failover 0 is RUNNING"),
        ('failover = 0, row = 0, row_reason = "locked"', "nothing like 'locked'"),
        (f'times = "{DEPLOYED}=False", count = 0', "happened 1 times, not 0"),
        ('times = "never said", at_least = 1', "happened 0 times"),
        ('order = ["vm 0: BOOT -> RUNNING", "fault: power-off"]', "the story never comes to 'fault: power-off'"),
        ('never = "fault: power-off"', "it was not to happen"),
        ('after = "fault: power-off", then = "vm 0: BOOT -> RUNNING", within_s = 1', "not within 1 s"),
        ('after = "fault: power-off", then = "vm 0: BOOT -> RUNNING", not_before_s = 50', "before 50 s"),
    ],
)
def test_what_comes_out_otherwise_is_told(expect: str, said: str, tmp_path: Path) -> None:
    wrong = _played(tmp_path, expect).wrong
    assert len(wrong) == 1
    assert said in wrong[0]


@pytest.mark.parametrize("times", [0, 1, 2])
def test_a_step_fails_as_often_as_it_was_told(times: int, tmp_path: Path) -> None:
    expect = f'times = "{DEPLOYED}=False", count = {times}'
    assert _played(tmp_path, expect, times).wrong == []
