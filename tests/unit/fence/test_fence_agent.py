"""Agents that lie, hang, shout and echo passwords: small programs that stand in for real ones, and fence_dummy."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.drivers.fence import Device, FenceAgents, FenceReport, Outcome, PowerState

PASSWORD = "hush 'pw' ü"

PRELUDE = """#!/bin/bash
input=$(cat); here=$(dirname "$0")
option() { sed -n "s/^$1=//p" <<< "$input"; }
action=$(option action)
echo "$action" >> "$here/actions"
off() { echo 'Status: OFF'; exit 2; }
on() { echo 'Status: ON'; exit 0; }
"""

Install = Callable[..., FenceAgents]


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Writes an agent into a directory of its own and returns what runs it."""

    def write(script: str, name: str = "fence_fake", turn_limit_s: float = 60.0) -> FenceAgents:
        path = tmp_path / name
        path.write_text(PRELUDE + script)
        path.chmod(0o755)
        return FenceAgents([tmp_path], turn_limit_s)

    return write


def device(limit_s: float = 10.0, name: str = "fence_fake", **options: str) -> Device:
    return Device(name, {"ip": "bmc", **options}, limit_s)


def fence(agents: FenceAgents, target: Device) -> FenceReport:
    return asyncio.run(agents.fence_off(target))


def actions(tmp_path: Path) -> list[str]:
    return (tmp_path / "actions").read_text().split()


# --- what counts as off


def test_off_is_verified_by_a_second_run_of_the_agent(install: Install, tmp_path: Path) -> None:
    report = fence(install("[ $action = off ] && { echo 'Success: Powered OFF'; exit 0; }; off"), device())
    assert (report.ok, report.outcome) == (True, Outcome.FENCED)
    assert actions(tmp_path) == ["off", "status"]
    assert "action=off: exit 0" in report.raw
    assert "action=status: exit 2" in report.raw
    assert report.devices == ("fence_fake at bmc",)


def test_already_off_is_success(install: Install) -> None:
    report = fence(install("[ $action = off ] && { echo 'Success: Already OFF'; exit 0; }; off"), device())
    assert (report.ok, report.outcome) == (True, Outcome.ALREADY_OFF)


def test_a_device_that_claims_success_while_power_stays_on_is_not_believed(install: Install, tmp_path: Path) -> None:
    report = fence(install("[ $action = off ] && { echo 'Success: Powered OFF'; exit 0; }; on"), device(3))
    assert (report.ok, report.outcome) == (False, Outcome.STILL_ON)
    assert 1.5 < report.took_s < 10
    assert actions(tmp_path).count("status") > 1
    assert "still has power" in report.text


def test_power_that_falls_slowly_is_read_again_until_it_is_off(install: Install, tmp_path: Path) -> None:
    script = "[ $action = off ] && exit 0; [ $(grep -c status $here/actions) -lt 3 ] && on; off"
    report = fence(install(script), device())
    assert (report.ok, report.outcome) == (True, Outcome.FENCED)
    assert actions(tmp_path) == ["off", "status", "status", "status"]


def test_exit_code_2_of_a_broken_agent_is_not_off(install: Install) -> None:
    report = fence(install("[ $action = off ] && exit 0; echo 'usage: [--off]' >&2; exit 2"), device(2))
    assert (report.ok, report.outcome) == (False, Outcome.UNKNOWN)
    assert "usage: [--off]" in report.text


def test_an_agent_that_runs_out_of_time_has_failed_even_if_power_went_off(install: Install, tmp_path: Path) -> None:
    report = fence(install("[ $action = off ] && { echo 'Success: Powered OFF'; sleep 60; }; off"), device(2))
    assert (report.ok, report.outcome) == (False, Outcome.TIMED_OUT)
    assert actions(tmp_path) == ["off"]
    assert report.took_s < 10
    assert "stopped by us" in report.raw


def test_off_that_cannot_be_verified_is_a_failure(install: Install) -> None:
    report = fence(install("[ $action = off ] && exit 0; sleep 60"), device(2))
    assert (report.ok, report.outcome) == (False, Outcome.UNREACHABLE)
    assert report.took_s < 10


def test_a_device_that_refuses_the_reading_is_not_asked_over_and_over(install: Install, tmp_path: Path) -> None:
    report = fence(install("[ $action = off ] && exit 0; echo 'RAKP 2 HMAC is invalid'; exit 1"), device())
    assert report.outcome is Outcome.DENIED
    assert actions(tmp_path) == ["off", "status"]


# --- readings


@pytest.mark.parametrize(
    ("script", "state", "says"),
    [
        ("on", PowerState.ON, "fence_fake at bmc: power is on."),
        ("off", PowerState.OFF, "fence_fake at bmc: power is off."),
        ("echo 'Connection timed out' >&2; exit 1", PowerState.UNREACHABLE, "does not answer"),
        ("sleep 60", PowerState.UNREACHABLE, "did not finish in time"),
        ("echo 'unauthorized name' >&2; exit 1", PowerState.DENIED, "check FENCE_USERNAME"),
        ("echo strange >&2; exit 1", PowerState.UNKNOWN, "the agent said: strange"),
        ("echo 'Failed: You have to enter plug number' >&2; exit 1", PowerState.UNKNOWN, "You have to enter plug"),
    ],
)
def test_a_reading_says_what_the_device_said(install: Install, script: str, state: PowerState, says: str) -> None:
    reading = asyncio.run(install(script).power_status(device(), limit_s=0.5 if "sleep" in script else 10))
    assert reading.state is state
    assert says in reading.text


def test_readings_are_not_cached(install: Install, tmp_path: Path) -> None:
    agents = install("[ -e $here/dark ] && off; on")

    async def twice() -> list[PowerState]:
        first = (await agents.power_status(device())).state
        (tmp_path / "dark").touch()
        return [first, (await agents.power_status(device())).state]

    assert asyncio.run(twice()) == [PowerState.ON, PowerState.OFF]


# --- agents that are not there


def test_a_missing_agent_is_its_own_outcome(tmp_path: Path) -> None:
    report = fence(FenceAgents([tmp_path]), device())
    assert (report.ok, report.outcome) == (False, Outcome.AGENT_MISSING)
    assert f"there is no fence_fake in {tmp_path}" in report.text
    reading = asyncio.run(FenceAgents([tmp_path]).power_status(device()))
    assert (reading.state, "install it" in reading.text) == (PowerState.UNKNOWN, True)


def test_an_agent_that_cannot_be_executed_is_missing_too(install: Install, tmp_path: Path) -> None:
    agents = install("off")
    (tmp_path / "fence_fake").write_text("#!/no/such/interpreter\n")
    assert fence(agents, device()).outcome is Outcome.AGENT_MISSING
    (tmp_path / "fence_fake").chmod(0o644)
    assert fence(agents, device()).outcome is Outcome.AGENT_MISSING


def test_an_agent_named_with_its_path_is_taken_from_there_only(install: Install, tmp_path: Path) -> None:
    agents = install("[ $action = off ] && exit 0; off")
    assert fence(agents, Device("fence_fake", directory=tmp_path)).ok
    assert fence(agents, Device("fence_fake", directory=Path("/usr/sbin"))).outcome is Outcome.AGENT_MISSING


# --- secrets


def test_no_secret_leaves_stdin_however_the_agent_echoes_it(install: Install, tmp_path: Path) -> None:
    script = """
    printf '%s\\n' "$0 $*" > $here/argv; env > $here/env; cat /proc/$$/cmdline > $here/cmdline
    password=$(option password); echo "$input"; echo "Ignoring option 'password=$password'" >&2
    printf '%q %s\\n' "$password" "$(printf %s "$password" | base64 -w0)" >&2
    python3 -c 'import sys,shlex,json; p=sys.argv[1]; print(repr(p), json.dumps(p), shlex.quote(p))' "$password" >&2
    exit 1"""
    target = device(password=PASSWORD, community="hidden-community")
    report = fence(install(script), target)
    reading = asyncio.run(install(script).power_status(target))
    shown = report.raw + report.text + reading.raw + reading.text + repr(target)
    for process_file in ("argv", "env", "cmdline"):
        shown += (tmp_path / process_file).read_text()
    assert "[hidden]" in report.raw
    for leak in ("hush", "hidden-community", base64.b64encode(PASSWORD.encode()).decode()):
        assert leak not in shown


def test_a_secret_cut_in_half_by_the_output_limit_does_not_show(install: Install) -> None:
    secret = "0123456789" * 5
    script = """echo 'an error' >&2; head -c 65510 /dev/zero | tr '\\0' -; option password
    head -c 100000 /dev/zero | tr '\\0' x; exit 1"""
    report = fence(install(script), device(password=secret))
    assert "01234" not in report.raw
    assert "an error" in report.raw


def test_the_password_file_reaches_the_agent_but_not_the_report(install: Install, tmp_path: Path) -> None:
    (tmp_path / "pw").write_text(PASSWORD + "\n")
    (tmp_path / "pw").chmod(0o600)
    script = f"""[ "$(option password)" = "{PASSWORD}" ] || exit 1; echo "$input"; [ $action = off ] && exit 0; off"""
    report = fence(install(script), Device("fence_fake", {"ip": "bmc"}, 10, password_file=tmp_path / "pw"))
    assert report.ok
    assert "hush" not in report.raw + report.text


def test_an_unreadable_password_file_is_reported_before_anything_is_run(install: Install, tmp_path: Path) -> None:
    report = fence(install("off"), Device("fence_fake", {"ip": "bmc"}, 10, password_file=tmp_path / "pw"))
    assert report.outcome is Outcome.BAD_PARAMETERS
    assert "FENCE_PASSWORD_FILE" in report.text
    assert not (tmp_path / "actions").exists()


# --- noise, turns, ciphers


def test_ten_megabytes_of_noise_leave_a_report_of_8_kib(install: Install) -> None:
    script = "head -c 10000000 /dev/urandom | base64; head -c 100000 /dev/urandom >&2; [ $action = off ] && exit 0; on"
    report = fence(install(script), device(3))
    assert report.outcome is Outcome.STILL_ON
    assert len(report.raw) <= 8192
    assert "[... output left out ...]" in report.raw


OVERLAP = """
[ -e $here/busy ] && touch $here/overlap
touch $here/busy; sleep 0.2; rm -f $here/busy
[ $action = off ] && exit 0; off"""


def test_one_device_is_spoken_to_by_one_action_at_a_time(install: Install, tmp_path: Path) -> None:
    agents = install(OVERLAP)

    async def crowd() -> list[bool]:
        plugs = [agents.fence_off(device(plug=str(number))) for number in range(3)]
        reports = await asyncio.gather(*plugs, agents.power_status(device()))
        return [report.ok for report in reports if isinstance(report, FenceReport)]

    assert asyncio.run(crowd()) == [True, True, True]
    assert not (tmp_path / "overlap").exists()


def test_different_devices_are_spoken_to_at_the_same_time(install: Install) -> None:
    agents = install("sleep 0.5; [ $action = off ] && exit 0; off")

    async def crowd() -> float:
        started = time.monotonic()
        await asyncio.gather(*(agents.fence_off(device(ip=f"bmc{number}")) for number in range(4)))
        return time.monotonic() - started

    assert asyncio.run(crowd()) < 2.5


def test_waiting_for_a_busy_device_has_a_limit_and_says_so(install: Install) -> None:
    agents = install("sleep 0.8; [ $action = off ] && exit 0; off", turn_limit_s=0.3)

    async def crowd() -> tuple[FenceReport, FenceReport]:
        return await asyncio.gather(agents.fence_off(device(plug="1")), agents.fence_off(device(plug="2")))

    first, second = asyncio.run(crowd())
    assert first.ok
    assert (second.ok, second.outcome) == (False, Outcome.TIMED_OUT)
    assert "busy with other actions for 0.3 s" in second.text


def test_a_cancelled_action_frees_the_device(install: Install) -> None:
    agents = install("[ $action = off ] && sleep 60; on")

    async def scenario() -> PowerState:
        task = asyncio.create_task(agents.fence_off(device()))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return (await agents.power_status(device())).state

    assert asyncio.run(scenario()) is PowerState.ON


NEEDS_17 = """
[ "$(option cipher)" = 17 ] || { echo 'Error in open session response message : no matching cipher suite' >&2; exit 1; }
[ $action = off ] && exit 0; off"""


def test_a_bmc_that_refuses_the_old_cipher_suite_is_asked_again_with_the_new_one(
    install: Install, tmp_path: Path
) -> None:
    report = fence(install(NEEDS_17, "fence_ipmilan"), device(name="fence_ipmilan"))
    assert (report.ok, actions(tmp_path)) == (True, ["off", "off", "status", "status"])


def test_a_cipher_suite_given_by_the_template_is_the_only_one_tried(install: Install, tmp_path: Path) -> None:
    report = fence(install(NEEDS_17, "fence_ipmilan"), device(name="fence_ipmilan", cipher="3"))
    assert (report.outcome, actions(tmp_path)) == (Outcome.BAD_PARAMETERS, ["off"])
    assert "refuses cipher suite 3: set FENCE_CIPHER" in report.text


# --- the real fence_dummy


def test_fence_dummy_is_switched_off_and_then_already_off(tmp_path: Path) -> None:
    status = tmp_path / ' a name "in quotes" '
    status.write_text("on")
    target = Device("fence_dummy", {"type": "file", "status_file": str(status)}, 10)
    reports = [fence(FenceAgents(), target) for _ in range(2)]
    assert [(report.ok, report.outcome) for report in reports] == [(True, Outcome.FENCED), (True, Outcome.ALREADY_OFF)]
    assert status.read_text() == "off"


def test_fence_dummy_that_fails_leaves_the_host_on() -> None:
    report = fence(FenceAgents(), Device("fence_dummy", {"type": "fail"}, 3))
    assert (report.ok, report.outcome) == (False, Outcome.STILL_ON)
