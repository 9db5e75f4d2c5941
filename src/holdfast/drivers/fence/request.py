"""What is written to an agent's standard input: one ``name=value`` line for each parameter.

Parameters travel on stdin only, so that no secret shows in a process list.  Defaults that differ from the agents' own,
and only where the template is silent:

* IPMI agents speak IPMI 2.0 (``lanplus=1``).
* IPMI agents ask for cipher suite 3, which IPMI 2.0 makes mandatory, and for 17 if the BMC refuses that.  Without a
  suite ipmitool 1.8.19 first asks the BMC which it has; one that does not answer this question costs 14 s a call.
* ``power_wait=0`` for IPMI agents except iLO 3 (whose own default is 4 s for a reason): the pause before the first look
  at the power; agents look every second anyway, and we read the power once more in a run of its own.
* ``power_timeout``: the agent should give up shortly before we kill it, because then it says why.
* ``verbose_level=2`` for IPMI agents: the only way to hear whether the password is wrong or the BMC is dead.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

from holdfast.drivers.fence.classify import Outcome
from holdfast.drivers.fence.parameters import IPMI_AGENTS, Device

_PASSWORD_FILE_LIMIT = 4096
_AGENT_TIMEOUT_S = 20


class CannotAsk(Exception):
    """The device cannot even be asked; carries the outcome and the reason."""

    def __init__(self, outcome: Outcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason


def ciphers(device: Device) -> tuple[str, ...]:
    """The cipher suites to try in turn; an empty string leaves the choice to the agent."""
    if device.agent in IPMI_AGENTS and "cipher" not in device.options:
        return ("3", "17")
    return (device.options.get("cipher", ""),)


def with_password(device: Device) -> Mapping[str, str]:
    """The device's options, with the password from its file; raises CannotAsk."""
    if device.password_file is None:
        return device.options
    return {**device.options, "password": _read_password(device.password_file)}


def stdin_text(agent: str, options: Mapping[str, str], action: str, cipher: str, limit_s: float) -> bytes:
    """The lines for one run of the agent that may take ``limit_s`` seconds."""
    lines = {**_defaults(agent, limit_s), **options, "action": action}
    if cipher:
        lines["cipher"] = cipher
    return "".join(f"{name}={_quoted(value)}\n" for name, value in lines.items()).encode()


def _defaults(agent: str, limit_s: float) -> dict[str, str]:
    defaults = {"power_timeout": str(min(_AGENT_TIMEOUT_S, max(1, int(limit_s * 0.7))))}
    if agent in IPMI_AGENTS:
        defaults |= {"lanplus": "1", "verbose_level": "2"}
        if agent != "fence_ilo3":
            defaults["power_wait"] = "0"
    return defaults


def _quoted(value: str) -> str:
    """The agents' library strips blanks around a value and one pair of double quotes: protect what would be lost."""
    in_quotes = len(value) > 1 and value.startswith('"') and value.endswith('"')
    return f'"{value}"' if value != value.strip() or in_quotes else value


def _read_password(path: Path) -> str:
    try:
        if stat.S_IMODE(path.stat().st_mode) & stat.S_IRWXO:
            raise CannotAsk(Outcome.BAD_PARAMETERS, f"FENCE_PASSWORD_FILE {path} is open to everybody: chmod o= {path}")
        with path.open("rb") as file:
            content = file.read(_PASSWORD_FILE_LIMIT + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CannotAsk(Outcome.BAD_PARAMETERS, f"FENCE_PASSWORD_FILE {path} cannot be read: {reason}") from None
    password = content.decode(errors="replace").rstrip("\r\n")
    if not password or len(content) > _PASSWORD_FILE_LIMIT or any(ord(letter) < 32 for letter in password):
        rule = f"must hold the password and nothing else, on one line of at most {_PASSWORD_FILE_LIMIT} bytes"
        raise CannotAsk(Outcome.BAD_PARAMETERS, f"FENCE_PASSWORD_FILE {path} {rule}")
    return password
