"""``holdfast simulate`` as people call it: what it prints, its exit codes, and how it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from holdfast.cli.holdfast import main
from holdfast.simulation.campaign import keep
from holdfast.simulation.plan import Entry, Options, Plan, draw
from holdfast.simulation.run import Outcome

QUICK = ("--hosts", "2", "--vms", "4", "--minutes", "1")
LIMIT_S = 30.0
SCENARIO = """
title = "A host dies"
seconds = 30
do = [{ at = 5, what = "power-off", host = 0, for_s = 100 }]
expect = [{ vm = 0, state = "RUNNING", host = HOST }]
"""


def _simulate(*arguments: str) -> int:
    return main(["simulate", *arguments])


def test_runs_are_counted_and_end_with_exit_code_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert _simulate("--runs", "3", *QUICK) == 0
    assert "3 runs of 1 simulated minute, 2 hosts, 4 VMs: 0 violations" in capsys.readouterr().out


def test_one_of_a_thing_is_not_told_in_the_plural(capsys: pytest.CaptureFixture[str]) -> None:
    assert _simulate("--hosts", "1", "--vms", "1", "--minutes", "1") == 0
    told = capsys.readouterr().out
    assert told.startswith("1 run of 1 simulated minute, 1 host, 1 VM: 0 violations, ")
    assert told.endswith(" s in 1 process\n")


def test_a_story_is_printed_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert _simulate("--seed", "5", "--story", *QUICK) == 0
    told = capsys.readouterr().out
    assert "controller: session 1 begins" in told
    assert _simulate("--seed", "5", "--story", *QUICK) == 0
    assert capsys.readouterr().out == told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--faults", "power,quake"), "--faults: quake is unknown; there are power, network"),
        (("--hosts", "0"), "--hosts must be more than 0 and at most 100, it is 0."),
        (("--vms", "-1"), "--vms must be more than 0"),
        (("--vms", "33", "--hosts", "2"), "2 hosts have room for 32"),
        (("--minutes", "-3"), "--minutes must be more than 0 and at most 1440, it is -3."),
        (("--minutes", "nan"), "--minutes must be more than 0"),
        (("--runs", "0"), "--runs must be more than 0"),
        (("--jobs", "0"), "--jobs must be more than 0"),
        (("--story", "--runs", "2"), "--story tells one run"),
        (("--save", "/nonexistent/story.json"), "--save: /nonexistent/story.json cannot be written"),
        (("--save", "/"), "--save: / cannot be written"),
        (("--replay", "/nonexistent/story.json"), "Cannot read /nonexistent/story.json: No such file or directory."),
        (("--replay", "a.json", "--scenario", "b.toml"), "--scenario cannot be combined with --replay."),
        (("--scenario", "b.toml", "--story", "--runs", "5"), "--scenario cannot be combined with --story, --runs."),
        (("--replay", "a.json", "--seed", "7", "--save", "b"), "--replay cannot be combined with --save, --seed."),
        (("--scenario", "/nonexistent/one.toml"), "Cannot read scenario /nonexistent/one.toml"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_reason(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _simulate(*arguments) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.out == ""


def _plan(*entries: dict[str, object]) -> str:
    told = {"seed": 1, "hosts": 2, "vms": 2, "seconds": 30, "active_s": 5, "hook": "migrate PAUSE=0", "trouble": 0}
    return json.dumps({"rule": "", "found": "", "plan": {**told, "entries": entries}})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not a story that holdfast simulate has kept"),
        ("\x00\x01", "is not a story that holdfast simulate has kept"),
        ("[]", "is not a story that holdfast simulate has kept"),
        ('{"plan": 7}', "is not a story that holdfast simulate has kept"),
        ('{"plan": {"entries": []}}', "it has no 'seed'"),
        (_plan({"at": 1, "what": "earthquake"}), 'there is no entry "earthquake"; there are agent-stop'),
        (_plan({"at": 1, "what": "power-off", "host": 0}), "power-off needs for_s"),
        (_plan({"at": 1, "what": "power-on", "colour": 1}), "power-on does not know colour"),
        (_plan({"at": 1, "what": "bmc", "host": 0, "for_s": 1, "mood": "sad"}), 'mood is "sad", it must be one of'),
        (_plan({"at": 1, "what": "power-off", "host": "a", "for_s": 1}), "host is 'a', it must be a number"),
        (_plan({"at": -1, "what": "power-on"}), "entry 1 needs at (seconds) and what"),
        (_plan().replace('"hosts": 2', '"hosts": 0'), "hosts, vms, seconds and active_s must be positive"),
    ],
)
def test_a_file_that_is_no_story_is_refused_with_a_reason(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "story.json"
    path.write_text(text, encoding="utf-8")
    assert _simulate("--replay", str(path)) == 2
    assert said in capsys.readouterr().err


def test_a_kept_story_is_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "story.json"
    keep(path, draw(Options(2, hosts=2, vms=4, minutes=1)), Outcome("a rule", "that was broken"))
    assert _simulate("--replay", str(path)) == 0
    assert f"{path}: no rule is broken." in capsys.readouterr().out


def test_a_story_that_breaks_a_rule_ends_with_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A world that ends before anything can heal breaks a rule for certain."""
    path = tmp_path / "story.json"
    dies = Entry(1.0, "power-off", {"host": 0, "for_s": 1000})
    keep(path, Plan(1, 2, 2, 6.0, 5.0, "migrate PAUSE=0", 0.0, (dies,)), Outcome())
    assert _simulate("--replay", str(path)) == 1
    printed = capsys.readouterr().out
    assert "VIOLATED after 6.0 s: " in printed
    assert "fault: power-off host=0" in printed


def test_scenarios_say_whether_they_came_out_as_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    well, badly = tmp_path / "well.toml", tmp_path / "badly.toml"
    well.write_text(SCENARIO.replace("HOST }", "[1, 2] }"), encoding="utf-8")
    badly.write_text(SCENARIO.replace("HOST }", "0 }"), encoding="utf-8")
    assert _simulate("--scenario", str(well)) == 0
    assert _simulate("--scenario", str(well), str(badly)) == 1
    printed = capsys.readouterr().out
    assert "ok      well: A host dies" in printed
    assert "FAILED  badly: A host dies" in printed
    assert "at the end: VM 0 is on host" in printed


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title = ", "Invalid value"),
        ('title = "x"\nhosts = "many"', "hosts"),
        ('title = "x"\ncolour = 1', "unknown key colour"),
        ('title = "x"\ndo = [{ at = 1, what = "earthquake" }]', "there is no entry"),
        ('title = "x"\ndo = [{ at = 1, what = "driver", kind = "vmm.dance", turn = "fails" }]', "vmm.dance"),
        ('title = "x"\nexpect = [{ happy = true }]', "needs one of vm"),
        ('title = "x"\nexpect = [{ vm = 0, colour = 1 }]', "vm does not know colour"),
        ('title = "x"\nexpect = [{ never = "(" }]', "is not a regular expression"),
        ('title = "x"\nexpect = [{ then = "x" }]', "then needs after"),
        ("hosts = 3", "title"),
    ],
)
def test_a_scenario_that_makes_no_sense_is_refused(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "one.toml"
    path.write_text(text, encoding="utf-8")
    assert _simulate("--scenario", str(path)) == 2
    printed = capsys.readouterr().err
    assert f"Scenario {path}: " in printed
    assert said in printed


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_ends_a_campaign_at_once_with_code_130(jobs: str) -> None:
    process = _campaign(jobs)
    try:
        os.killpg(process.pid, signal.SIGINT)
        begun = time.monotonic()
        out, err = process.communicate(timeout=LIMIT_S)
    finally:
        _end(process)
    assert process.returncode == 130, err
    assert time.monotonic() - begun < 5
    assert err.count("\n") == 1
    assert err.startswith("interrupted after ")
    assert "Traceback" not in out + err


def test_a_campaign_that_is_killed_leaves_no_process_behind() -> None:
    process = _campaign("3")
    children = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    _end(process)
    assert children
    until = time.monotonic() + LIMIT_S
    while any(_lives(pid) for pid in children):
        assert time.monotonic() < until, f"of {children} some are left"
        time.sleep(0.05)


def _campaign(jobs: str) -> subprocess.Popen[str]:
    """A long campaign in a process group of its own, once its first runs are under way."""
    command = [sys.executable, "-m", "holdfast", "simulate", "--runs", "100000", "--jobs", jobs]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    until = time.monotonic() + LIMIT_S
    while _ran_s(process.pid) < 1.0:
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.05)
    return process


def _ran_s(pid: int) -> float:
    """How much time the process and its first child have spent computing."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    spent = 0
    for one in (str(pid), *children[:1]):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        spent += int(fields[11]) + int(fields[12])
    return spent / os.sysconf("SC_CLK_TCK")


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.kill()
    process.communicate(timeout=LIMIT_S)
