"""What agents really print, recorded from fence-agents 4.12.1 and ipmitool 1.8.19, and what we make of it."""

from __future__ import annotations

import pytest

from holdfast.drivers.fence.classify import Outcome, PowerState, failure, off_outcome, power_state, refuses_cipher
from holdfast.drivers.process import Completed

PLUG_STATUS = "ERROR: Failed: Unable to obtain correct plug status or plug is not available\n"
USAGE = "ERROR: Please use '-h' for usage\n"
NO_SESSION = "Error: Unable to establish IPMI v2 / RMCP+ session\n"
URLLIB = "HTTPSConnectionPool(host='127.0.0.1', port=443): Max retries exceeded with url: /redfish/v1 (Caused by "

FAILURES = {
    "ipmi, wrong password": (Outcome.DENIED, "> RAKP 2 HMAC is invalid\n" + NO_SESSION + PLUG_STATUS),
    "ipmi, unknown user": (
        Outcome.DENIED,
        "RAKP 2 message indicates an error : unauthorized name\n" + NO_SESSION + PLUG_STATUS,
    ),
    "ipmi, privilege too low": (
        Outcome.DENIED,
        "Set Chassis Power Control to Down/Off failed: Insufficient privilege level\n"
        "ERROR: Failed: Timed out waiting to power OFF\n",
    ),
    "ipmi 1.5, wrong password": (
        Outcome.DENIED,
        "Activate Session command failed\nError: Unable to establish LAN session\n" + PLUG_STATUS,
    ),
    "ssh, wrong key": (Outcome.DENIED, "a@127.0.0.1: Permission denied (publickey,password).\n"),
    "library, privileges": (
        Outcome.DENIED,
        "ERROR: Failed: The user does not have the correct privileges to do the requested action.\n",
    ),
    "ipmi, BMC dead": (Outcome.UNREACHABLE, "ERROR: Connection timed out\n"),
    "ipmi, ipmitool gave up": (
        Outcome.UNREACHABLE,
        "Get Auth Capabilities error\nError issuing Get Channel Authentication Capabilities request\n" + NO_SESSION,
    ),
    "ipmi, name unknown": (
        Outcome.UNREACHABLE,
        "Address lookup for bmc.invalid failed\nCould not open socket!\n" + NO_SESSION + PLUG_STATUS,
    ),
    "redfish, port closed": (
        Outcome.UNREACHABLE,
        "ERROR: Failed: send_get_request: "
        + URLLIB
        + "NewConnectionError('<urllib3.connection.HTTPSConnection object>: "
        "Failed to establish a new connection: [Errno 111] Connection refused'))\n" + USAGE,
    ),
    "redfish, no route": (
        Outcome.UNREACHABLE,
        "ERROR: Failed: send_get_request: " + URLLIB + "NewConnectionError('[Errno 113] No route to host'))\n" + USAGE,
    ),
    "library, power stays on": (Outcome.STILL_ON, "ERROR: Failed: Timed out waiting to power OFF\n"),
    "ipmi, cipher unknown to the BMC": (
        Outcome.BAD_PARAMETERS,
        "Error in open session response message : invalid authentication algorithm\n" + NO_SESSION + PLUG_STATUS,
    ),
    "library, address missing": (Outcome.BAD_PARAMETERS, "ERROR: Failed: You have to enter fence address\n" + USAGE),
    "library, plug missing": (
        Outcome.BAD_PARAMETERS,
        "ERROR: Failed: You have to enter plug number or machine identification\n" + USAGE,
    ),
    "library, action unknown": (Outcome.BAD_PARAMETERS, "ERROR: Failed: Unrecognised action 'bogus'\n" + USAGE),
    "telnet not installed": (
        Outcome.AGENT_MISSING,
        "pexpect.exceptions.ExceptionPexpect: The command was not found or was not executable: /usr/bin/telnet.\n",
    ),
    "snmp not installed": (Outcome.AGENT_MISSING, "ERROR: Cannot run command /usr/bin/snmpwalk -m '' -Oeqn\n" + USAGE),
    "ipmitool not installed": (Outcome.AGENT_MISSING, "ERROR: Ipmitool not found or not accessible\n" + USAGE),
    "plug status alone": (Outcome.UNKNOWN, PLUG_STATUS),
    "ssh or telnet login": (Outcome.UNKNOWN, "ERROR: Unable to connect/login to fencing device\n"),
    "a script's own permission problem": (Outcome.UNKNOWN, "PermissionError: [Errno 13] Permission denied: '/x'\n"),
    "nothing at all": (Outcome.UNKNOWN, ""),
}


def ended(code: int, stdout: str = "", stderr: str = "", timed_out: bool = False) -> Completed:
    return Completed(("agent",), code, stdout.encode(), stderr.encode(), 0.1, timed_out)


@pytest.mark.parametrize(("outcome", "stderr"), FAILURES.values(), ids=FAILURES.keys())
def test_a_failure_is_told_apart_by_what_the_agent_says(outcome: Outcome, stderr: str) -> None:
    assert off_outcome(ended(1, stderr=stderr)) is outcome
    assert failure(ended(1, stderr=stderr)) is outcome


@pytest.mark.parametrize(("outcome", "stderr"), FAILURES.values(), ids=FAILURES.keys())
def test_no_failure_is_ever_read_as_off(outcome: Outcome, stderr: str) -> None:
    for code in (1, 2, 3, 126, 127, -9):
        assert power_state(ended(code, stderr=stderr)) not in (PowerState.ON, PowerState.OFF)
        assert not off_outcome(ended(code, stderr=stderr)).is_off


@pytest.mark.parametrize(
    ("done", "outcome"),
    [
        (ended(0, "Success: Powered OFF\n"), Outcome.FENCED),
        (ended(0, "Success: Already OFF\n"), Outcome.ALREADY_OFF),
        (ended(0), Outcome.FENCED),
        (ended(0, "Success: Powered OFF\n", timed_out=True), Outcome.TIMED_OUT),
        (ended(-15, timed_out=True), Outcome.TIMED_OUT),
    ],
)
def test_off_succeeds_only_with_exit_code_0_in_time(done: Completed, outcome: Outcome) -> None:
    assert off_outcome(done) is outcome


@pytest.mark.parametrize(
    ("done", "state"),
    [
        (ended(0, "Status: ON\n"), PowerState.ON),
        (ended(0), PowerState.ON),
        (ended(2, "Status: OFF\n"), PowerState.OFF),
        (ended(2, "", "usage: agent [--off]\n"), PowerState.UNKNOWN),
        (ended(2, "", "python3: can't open file '/usr/sbin/fence_x': [Errno 2]\n"), PowerState.UNKNOWN),
        (ended(2, "Status: OFFLINE\n"), PowerState.UNKNOWN),
        (ended(0, "Status: OFF\n"), PowerState.UNKNOWN),
        (ended(2, "Status: OFF\n", timed_out=True), PowerState.UNREACHABLE),
        (ended(1, "", "ERROR: Connection timed out\n"), PowerState.UNREACHABLE),
        (ended(1, "", "> RAKP 2 HMAC is invalid\n"), PowerState.DENIED),
        (ended(1, "", PLUG_STATUS), PowerState.UNKNOWN),
        (ended(-11), PowerState.UNKNOWN),
    ],
)
def test_a_status_is_off_only_if_code_and_words_agree(done: Completed, state: PowerState) -> None:
    assert power_state(done) is state


def test_only_a_cipher_refusal_asks_for_another_cipher() -> None:
    refusals = [name for name, (_, stderr) in FAILURES.items() if refuses_cipher(ended(1, stderr=stderr))]
    assert refusals == ["ipmi, cipher unknown to the BMC"]
    assert refuses_cipher(ended(1, stderr="Error in open session response message : no matching cipher suite"))


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_tells_the_operator_what_it_means(outcome: Outcome) -> None:
    assert outcome.meaning.endswith(".")
    assert outcome.is_off == (outcome in (Outcome.FENCED, Outcome.ALREADY_OFF))
