"""The fence topology of a host, read from its template.

Single attributes describe one device: ``FENCE_AGENT``, ``FENCE_IP``, ``FENCE_PORT``, ``FENCE_USERNAME``,
``FENCE_PASSWORD`` or ``FENCE_PASSWORD_FILE``, ``FENCE_PLUG``, ``FENCE_LANPLUS``, ``FENCE_CIPHER``, ``FENCE_TIMEOUT``
(seconds for the whole action) and ``FENCE_LEVEL``; every other ``FENCE_<NAME>`` is the agent's option ``<name>``.
Vector attributes ``FENCE=[LEVEL="2", AGENT="fence_apc", IP=..., PLUG=...]`` add devices, with the same names.

Whoever may edit a host template must not thereby run programs on the controller, nor make an agent say "off" of a
machine that is on: options that could are refused here.  Everything that is wrong is named with its rule and its way
out, and no message ever shows a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.model.errors import ArgumentError

AGENT_DIRECTORIES = (Path("/usr/sbin"), Path("/sbin"))
DEFAULT_LIMIT_S = 30.0

IPMI_AGENTS = frozenset(
    "fence_" + name for name in ("ipmilan", "ipmilanplus", "idrac", "ilo3", "ilo4", "ilo5", "ilo6", "imm")
)
"""One program under several names: they call ipmitool."""

_PREFIX = "FENCE_"
_AGENT = re.compile(r"fence_[a-z0-9_]+")
_ADDRESS = re.compile(r"[A-Za-z0-9_\[][A-Za-z0-9_.:%\[\]-]*")
_OPTION = re.compile(r"[a-z][a-z0-9_]*")
_IPMI_WORD = re.compile(r"[A-Za-z0-9_.:%/+-]*")
_CONTROL = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_SECRET = re.compile(r"pass|secret|token|key|community|_kg$")
_PROGRAM = re.compile(r".*_(path|script)|exec|ssh_options|sudo|use_sudo")

_OWN_NAMES = {"port": "ipport", "ipaddr": "ip", "login": "username", "passwd": "password"}
_CASED = {"tenantid": "tenantId", "resourcegroup": "resourceGroup", "subscriptionid": "subscriptionId"}

_REFUSED = {
    "action": "the action is not a parameter, it is always off, then status",
    "option": "the action is not a parameter, it is always off, then status",
    "missing_as_off": "a mistyped plug would then count as a host that is off",
    "quiet": "it hides why an agent failed",
    "verbose": "the amount of output is not a parameter",
    "verbose_level": "the amount of output is not a parameter",
    "debug": "it writes credentials into a file",
    "debug_file": "it writes credentials into a file",
    "help": "it makes the agent succeed without doing anything",
    "version": "it makes the agent succeed without doing anything",
}


class BadFenceAttribute(ArgumentError):
    """A FENCE attribute of a host template breaks a rule."""

    def __init__(self, attribute: str, rule: str, way_out: str) -> None:
        super().__init__(f"Attribute {attribute}: {rule}; {way_out}.")
        self.attribute = attribute
        self.rule = rule
        self.way_out = way_out


@dataclass(frozen=True, slots=True)
class Device:
    """One fence device, and what its agent needs to know to switch off this one host."""

    agent: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    limit_s: float = DEFAULT_LIMIT_S
    password_file: Path | None = None
    directory: Path | None = None
    """Where the agent was said to be; None = wherever it is found."""

    @property
    def name(self) -> str:
        """For people: the agent, its address and its plug."""
        port, plug = self.options.get("ipport"), self.options.get("plug")
        at = self.options.get("ip", "")
        return (
            self.agent
            + (f" at {at}" if at else "")
            + (f":{port}" if at and port else "")
            + (f" plug {plug}" if plug else "")
        )

    @property
    def console(self) -> str:
        """Equal for devices that must not be spoken to at the same time."""
        if self.options.get("ip"):
            return f"{self.options['ip'].lower()}:{self.options.get('ipport', '')}"
        return repr((self.agent, sorted(self.options.items())))

    def secrets(self) -> Iterator[str]:
        """The option values that must never be shown."""
        return (value for name, value in self.options.items() if _SECRET.search(name))


@dataclass(frozen=True, slots=True)
class Level:
    """Devices that must all say off."""

    index: int
    devices: tuple[Device, ...]


@dataclass(frozen=True, slots=True)
class Topology:
    """The levels in the order in which they are tried; the first that succeeds ends it."""

    levels: tuple[Level, ...]

    @property
    def limit_s(self) -> float:
        """The longest that all levels together may take."""
        return sum(device.limit_s for level in self.levels for device in level.devices)


def fence_topology(
    attributes: Mapping[str, str],
    vectors: Sequence[Mapping[str, str]] = (),
    *,
    directories: Sequence[Path] = AGENT_DIRECTORIES,
) -> Topology | None:
    """The topology that a host template describes, None if it describes none; raises BadFenceAttribute.

    ``attributes`` are the template's single values, ``vectors`` its ``FENCE=[...]`` values.
    """
    flat = {
        name.upper()[len(_PREFIX) :]: value for name, value in attributes.items() if name.upper().startswith(_PREFIX)
    }
    described = [(_PREFIX, flat)] if flat else []
    for number, vector in enumerate(vectors, 1):
        described.append((f"FENCE[{number}]/", {name.upper(): value for name, value in vector.items()}))
    levels: dict[int, list[Device]] = {}
    for prefix, words in described:
        index = _number(prefix + "LEVEL", words.get("LEVEL", "1"), 1, 9)
        levels.setdefault(index, []).append(_device(prefix, words, directories))
    if not levels:
        return None
    return Topology(tuple(Level(index, tuple(levels[index])) for index in sorted(levels)))


def _device(prefix: str, words: Mapping[str, str], directories: Sequence[Path]) -> Device:
    agent, directory = _agent(prefix + "AGENT", words.get("AGENT", ""), directories)
    file = words.get("PASSWORD_FILE")
    options = dict(_options(prefix, agent, words))
    if file and "password" in options:
        raise BadFenceAttribute(
            prefix + "PASSWORD_FILE", "the password is given twice", f"remove it or {prefix}PASSWORD"
        )
    return Device(
        agent=agent,
        options=options,
        limit_s=float(_number(prefix + "TIMEOUT", words.get("TIMEOUT", str(int(DEFAULT_LIMIT_S))), 1, 600)),
        password_file=_absolute(prefix + "PASSWORD_FILE", file) if file else None,
        directory=directory,
    )


def _agent(attribute: str, value: str, directories: Sequence[Path]) -> tuple[str, Path | None]:
    if not value:
        raise BadFenceAttribute(
            attribute, "is missing", "name the fence agent, for instance fence_ipmilan or fence_redfish"
        )
    path = Path(value)
    if not _AGENT.fullmatch(path.name):
        rule = f"{value!r} is not the name of a fence agent (fence_ and lower-case letters, digits or _)"
        raise BadFenceAttribute(attribute, rule, "use the name of an installed agent: ls /usr/sbin/fence_*")
    if value == path.name:
        return path.name, None
    if path.parent not in directories:
        allowed = ", ".join(str(directory) for directory in directories)
        raise BadFenceAttribute(
            attribute, f"agents are only run from {allowed}", f"install it there or write {path.name}"
        )
    return path.name, path.parent


def _options(prefix: str, agent: str, words: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    seen: dict[str, str] = {}
    for word, value in words.items():
        if word in ("AGENT", "LEVEL", "TIMEOUT", "PASSWORD_FILE"):
            continue
        attribute = prefix + word
        option = _OWN_NAMES.get(word.lower(), word.lower())
        _check_name(attribute, option)
        if option in seen:
            raise BadFenceAttribute(attribute, f"says the same as {seen[option]}", "keep one of them")
        seen[option] = attribute
        _check_value(attribute, agent, option, value)
        if option != "method":
            yield _CASED.get(option, option), value


def _check_name(attribute: str, option: str) -> None:
    if not _OPTION.fullmatch(option):
        raise BadFenceAttribute(attribute, "is not the name of an option", "use letters, digits and _")
    if option in _REFUSED:
        raise BadFenceAttribute(attribute, f"is not accepted: {_REFUSED[option]}", "remove it")
    if _PROGRAM.fullmatch(option):
        rule = "a host template may not say which program or command is run on the controller"
        raise BadFenceAttribute(attribute, rule, "install the program where the agent looks for it and remove this")


def _check_value(attribute: str, agent: str, option: str, value: str) -> None:
    if _CONTROL.search(value):
        raise BadFenceAttribute(attribute, "contains a line break or another control character", "remove it")
    if option == "method" and value.lower() != "onoff":
        raise BadFenceAttribute(
            attribute, "a power cycle can report success before power is off", "write onoff or remove it"
        )
    if option == "ip" and not _ADDRESS.fullmatch(value):
        raise BadFenceAttribute(
            attribute, f"{value!r} is neither an address nor a host name", "write one, without blanks"
        )
    if option == "ipport":
        _number(attribute, value, 1, 65535)
    if option == "cipher":
        _number(attribute, value, 0, 255)
    if option == "lanplus" and value.lower() not in ("1", "0", "yes", "no", "true", "false", "on", "off"):
        raise BadFenceAttribute(attribute, f"{value!r} is neither yes nor no", "write yes or no")
    # fence_ipmilan pastes everything but these two unquoted into a command line.
    if agent in IPMI_AGENTS and option not in ("username", "password") and not _IPMI_WORD.fullmatch(value.strip("[]")):
        raise BadFenceAttribute(attribute, "has characters that ipmitool would read as further options", "remove them")


def _number(attribute: str, value: str, low: int, high: int) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", value) or not low <= int(value) <= high:
        raise BadFenceAttribute(attribute, f"{value!r} is not a whole number from {low} to {high}", "write one")
    return int(value)


def _absolute(attribute: str, value: str) -> Path:
    if not value.startswith("/") or _CONTROL.search(value):
        raise BadFenceAttribute(attribute, f"{value!r} is not an absolute path", "write the full path")
    return Path(value)
