"""The agent's configuration: one JSON file, checked completely before anything starts.

Invariants: the host's key comes only from a file that its owner alone can read; controllers are numeric addresses,
because a beacon must not wait for a name server; a mistake is refused with the file, the rule and the way out.
"""

import ipaddress
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BOOT_ID_VARIABLE = "HOLDFAST_BOOT_ID"
KERNEL_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_IDENTITY = ("host_id", "name", "key", "key_file", "boot_id_env")
_LINK = ("controllers", "period_s", "heartbeat_file")
_HOST = ("hypervisor", "libvirt_socket", "total_cpu", "total_memory_kb")
_KEYS = frozenset(_IDENTITY + _LINK + _HOST)
_MAX_FILE = 1 << 16
_MIN_KEY_BYTES = 16


class ConfigRefused(Exception):
    """The configuration cannot be used; the message names the file, the rule and the way out."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where one controller listens on one network; `number` is its place in the list, signed into each beacon."""

    number: int
    ip: str
    port: int

    def __str__(self) -> str:
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """What the agent of one host needs to know."""

    host_id: int
    name: str
    key: bytes = field(repr=False)
    boot_id: str
    controllers: tuple[Address, ...]
    period_s: float = 1.0
    heartbeat_file: Path | None = None
    hypervisor: str = "kvm"
    libvirt_socket: Path | None = None
    total_cpu: int | None = None
    total_memory_kb: int | None = None


def load_config(path: Path, environment: Mapping[str, str]) -> AgentConfig:
    """The configuration in this file; ConfigRefused when a rule is broken."""
    try:
        fields = json.loads(_private_text(path))
    except ValueError as exc:
        raise ConfigRefused(f"{path}: not JSON ({exc})") from None
    if not isinstance(fields, dict):
        raise ConfigRefused(f"{path}: must be one JSON object")
    unknown = sorted(set(fields) - _KEYS)
    if unknown:
        raise ConfigRefused(f"{path}: unknown key {unknown[0]!r}; known are {', '.join(sorted(_KEYS))}")
    return _config(_Fields(path, fields), environment)


def _config(fields: "_Fields", environment: Mapping[str, str]) -> AgentConfig:
    host_id = fields.integer("host_id", 0, 2**31 - 1)
    if host_id is None:
        raise fields.refused("host_id", "is missing: set it to the host's ID, as `onehost list` shows it")
    return AgentConfig(
        host_id=host_id,
        name=fields.text("name") or f"host-{host_id}",
        key=_key(fields),
        boot_id=_boot_id(fields.text("boot_id_env") or BOOT_ID_VARIABLE, environment),
        controllers=_controllers(fields),
        period_s=_period_s(fields),
        heartbeat_file=fields.path("heartbeat_file"),
        hypervisor=fields.text("hypervisor") or "kvm",
        libvirt_socket=fields.path("libvirt_socket"),
        total_cpu=fields.integer("total_cpu", 1, 10**7),
        total_memory_kb=fields.integer("total_memory_kb", 1, 10**13),
    )


@dataclass(frozen=True, slots=True)
class _Fields:
    file: Path
    values: dict[str, Any] = field(repr=False)

    def refused(self, key: str, rule: str) -> ConfigRefused:
        return ConfigRefused(f"{self.file}: {key!r} {rule}")

    def text(self, key: str) -> str | None:
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, str) or not value or len(value) > 256 or not value.isprintable():
            raise self.refused(key, "must be a printable string of 1 to 256 characters")
        return value

    def path(self, key: str) -> Path | None:
        value = self.text(key)
        if value is None:
            return None
        if not value.startswith("/"):
            raise self.refused(key, "must be an absolute path")
        return Path(value)

    def integer(self, key: str, least: int, most: int) -> int | None:
        value = self.values.get(key)
        if value is None:
            return None
        if type(value) is not int or not least <= value <= most:
            raise self.refused(key, f"must be a whole number from {least} to {most}")
        return value


def _private_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise ConfigRefused(
                    f"{path}: mode {mode:04o} lets others in, and it guards a key; run: chmod 600 {path}"
                )
            return file.read(_MAX_FILE).decode()
    except OSError as exc:
        raise ConfigRefused(f"{path}: cannot be read: {exc.strerror}") from None


def _key(fields: _Fields) -> bytes:
    file, text = fields.path("key_file"), fields.text("key")
    if (file is None) == (text is None):
        raise fields.refused("key_file", "or 'key' must be set, and only one of them")
    if file is not None:
        text = _private_text(file).strip()
    try:
        key = bytes.fromhex(text or "")
    except ValueError:
        raise ConfigRefused(f"{file or fields.file}: the key must be written in hexadecimal digits") from None
    if len(key) < _MIN_KEY_BYTES:
        raise ConfigRefused(f"{file or fields.file}: the key must have at least {_MIN_KEY_BYTES} bytes")
    return key


def _controllers(fields: _Fields) -> tuple[Address, ...]:
    listed = fields.values.get("controllers")
    if not isinstance(listed, list) or not 1 <= len(listed) <= 16:
        raise fields.refused("controllers", 'must list 1 to 16 addresses, e.g. ["192.0.2.10:4124"]')
    return tuple(_address(fields, number, text) for number, text in enumerate(listed))


def _address(fields: _Fields, number: int, text: object) -> Address:
    ip, _, port = str(text).rpartition(":")
    try:
        address = ipaddress.ip_address(ip[1:-1] if ip.startswith("[") and ip.endswith("]") else ip)
        if not 1 <= int(port) <= 65535:
            raise ValueError(port)
    except ValueError:
        rule = f"has {text!r}; write IP:PORT or [IPv6]:PORT, no names: beacons must not depend on a name server"
        raise fields.refused("controllers", rule) from None
    return Address(number, str(address), int(port))


def _period_s(fields: _Fields) -> float:
    value = fields.values.get("period_s", 1.0)
    if type(value) not in (int, float) or not 0.05 <= value <= 60:
        raise fields.refused("period_s", "must be a number of seconds from 0.05 to 60")
    return float(value)


def _boot_id(variable: str, environment: Mapping[str, str]) -> str:
    value = environment.get(variable) or KERNEL_BOOT_ID.read_text(encoding="ascii").strip()
    if len(value) > 64 or not value.isascii() or not value.replace("-", "").replace("_", "").isalnum():
        raise ConfigRefused(f"{variable}: {value!r} is not a boot id; use up to 64 letters, digits, '-' and '_'")
    return value
