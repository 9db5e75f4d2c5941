"""What an agent's exit code and words mean.

Agents have three exit codes: 0, 1 for every kind of failure, and for ``status`` 2 = off.  What went wrong is only in
what they print, so the signs below are phrases of real agents (fence-agents 4.12, ipmitool 1.8.19; the tests record
them).  Two rules keep a mistake from looking like a dead host: whatever is not recognised is UNKNOWN, and exit code 2
counts as off only if the output says "off" as well, because interpreters and option parsers exit with 2 on errors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum

from holdfast.drivers.process import Completed


class Outcome(Enum):
    """How an attempt to switch a host off ended."""

    FENCED = "fenced"
    ALREADY_OFF = "already off"
    DENIED = "denied"
    UNREACHABLE = "unreachable"
    STILL_ON = "still on"
    TIMED_OUT = "timed out"
    AGENT_MISSING = "agent missing"
    BAD_PARAMETERS = "bad parameters"
    UNKNOWN = "unknown"

    @property
    def is_off(self) -> bool:
        """The device says that the host has no power."""
        return self in (Outcome.FENCED, Outcome.ALREADY_OFF)

    @property
    def meaning(self) -> str:
        """For the operator: what it means and what unblocks it."""
        return _MEANING[self]


class PowerState(Enum):
    """What a device says about the power of a host."""

    ON = "on"
    OFF = "off"
    UNREACHABLE = "unreachable"
    DENIED = "denied"
    UNKNOWN = "unknown"


_MEANING: Mapping[Outcome, str] = {
    Outcome.FENCED: "The host was switched off and a second reading of the device says off.",
    Outcome.ALREADY_OFF: "The host was off already and a second reading of the device says off.",
    Outcome.DENIED: "The fence device answers but refuses the login or the command: check FENCE_USERNAME and "
    "FENCE_PASSWORD, and that this user may switch power (IPMI: privilege OPERATOR or higher).",
    Outcome.UNREACHABLE: "The fence device does not answer. A BMC that shares its host's power is dark after a "
    "power cut: restore its power or network, add a second level such as a power strip, or look at the host and "
    "confirm that it is off.",
    Outcome.STILL_ON: "The fence device answers, but the host still has power: switch it off by hand, or add a "
    "second fence level.",
    Outcome.TIMED_OUT: "The fence agent did not finish in time and was stopped; nothing is known about the power. "
    "If the device is merely slow, raise FENCE_TIMEOUT.",
    Outcome.AGENT_MISSING: "The fence agent, or a program that it calls, is not installed on the controller: "
    "install it (Debian: fence-agents, and ipmitool, snmp or telnet as the agent needs).",
    Outcome.BAD_PARAMETERS: "The fence agent or the device does not accept the parameters: correct the FENCE "
    "attributes of the host.",
    Outcome.UNKNOWN: "The fence agent failed in a way that cannot be told apart further: read its output, and try "
    "it by hand with action=status.",
}

_CIPHER = re.compile(r"no matching cipher suite|invalid (authentication|integrity|confidentiality) algorithm", re.I)

# Tried in this order: what stands first is the cause, what stands later often its consequence.
_SIGNS: tuple[tuple[Outcome, re.Pattern[str]], ...] = tuple(
    (outcome, re.compile(pattern, re.I))
    for outcome, pattern in (
        (
            Outcome.AGENT_MISSING,
            r"not found or not accessible|command was not found or was not executable|unable to run /"
            r"|cannot run command|ModuleNotFoundError|ImportError",
        ),
        (
            Outcome.DENIED,
            r"RAKP 2 HMAC is invalid|unauthorized (name|role)|insufficient privilege|not have the correct privileges"
            r"|(?<!\] )permission denied|authentication fail|login failed|invalid (user|password|credential)"
            r"|incorrect access key|\b401\b.*unauthorized|\b403\b.*forbidden|Failed: Unauthorized"
            r"|Activate Session command failed",
        ),
        (Outcome.BAD_PARAMETERS, _CIPHER.pattern),
        (
            Outcome.UNREACHABLE,
            r"connection (timed out|refused|lost|reset|failed)|no route to host|network is unreachable|host is down"
            r"|address lookup for .* failed|could not open socket|name or service not known|name resolution"
            r"|read timed out|connect timeout|Get Auth Capabilities (error|command failed)",
        ),
        (Outcome.STILL_ON, r"timed out waiting to power off"),
        (
            Outcome.BAD_PARAMETERS,
            r"you have to (enter|set|choose|use)|unrecognised action|is not a valid|does not exist|not found"
            r"|please use '-h' for usage",
        ),
    )
)


def off_outcome(done: Completed) -> Outcome:
    """What an agent run with ``action=off`` says; a success still has to be verified."""
    if done.code == 0 and not done.timed_out:
        return Outcome.ALREADY_OFF if "already off" in _words(done).lower() else Outcome.FENCED
    return failure(done)


def power_state(done: Completed) -> PowerState:
    """What an agent run with ``action=status`` says."""
    says_off = re.search(r"\boff\b", done.stdout.decode(errors="replace"), re.I) is not None
    if done.timed_out:
        return PowerState.UNREACHABLE
    if done.code == 2 and says_off:
        return PowerState.OFF
    if done.code == 0:
        return PowerState.UNKNOWN if says_off else PowerState.ON
    return _STATE_OF_FAILURE.get(failure(done), PowerState.UNKNOWN)


def failure(done: Completed) -> Outcome:
    """Why an agent failed, as far as its words tell."""
    if done.timed_out:
        return Outcome.TIMED_OUT
    words = _words(done)
    return next((outcome for outcome, sign in _SIGNS if sign.search(words)), Outcome.UNKNOWN)


def refuses_cipher(done: Completed) -> bool:
    """Whether the BMC knows the user's protocol but not the cipher suite that was asked for."""
    return done.code == 1 and _CIPHER.search(_words(done)) is not None


def _words(done: Completed) -> str:
    return (done.stdout + b"\n" + done.stderr).decode(errors="replace")


_STATE_OF_FAILURE = {Outcome.UNREACHABLE: PowerState.UNREACHABLE, Outcome.DENIED: PowerState.DENIED}

OUTCOME_OF_STATE: Mapping[PowerState, Outcome] = {
    PowerState.ON: Outcome.STILL_ON,
    PowerState.OFF: Outcome.ALREADY_OFF,
    PowerState.UNREACHABLE: Outcome.UNREACHABLE,
    PowerState.DENIED: Outcome.DENIED,
    PowerState.UNKNOWN: Outcome.UNKNOWN,
}
"""The outcome of an attempt that ends with a reading in this state."""
