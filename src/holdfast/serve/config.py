"""What ``holdfast serve`` can be told: a TOML file, overridden by options."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from holdfast.drivers.vmm.site_hypervisor import site_hypervisors
from holdfast.engine.tm_conf import TmConf
from holdfast.model.errors import HoldfastError, TemplateError

DEFAULT_FILE = Path("/etc/holdfast/holdfast.toml")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
ACCELERATORS = ("auto", "kvm", "tcg")
_PLAIN_PATH = re.compile(r"(/[A-Za-z0-9_.-]+)+")
_EXAMPLES = {"tm_mad_conf": 'LN_TARGET = "SYSTEM"', "vmm_mad": 'TYPE = "xml"'}


class ConfigError(HoldfastError):
    """The configuration cannot be used; the message names file, key, rule and way out."""


@dataclass(frozen=True, slots=True)
class Config:
    """Addresses are ``ip:port`` or ``fd://n``; empty paths are derived from ``var``.

    Hooks and driver scripts reach the API at the first address of ``listen``.  ``tm_mad_conf`` declares the site's own
    transfer drivers, ``vmm_mad`` its hypervisors: a table for each, with OpenNebula's attributes.  ``ssh_config`` says
    how hosts are reached, where it is by ssh; by default it is that of the user who runs the controller.
    """

    var: Path = Path("/var/lib/holdfast")
    listen: tuple[str, ...] = ("127.0.0.1:2633",)
    beacons: tuple[str, ...] = ("127.0.0.1:4124",)
    datastores: Path | None = None
    heartbeats: Path | None = None
    one_auth: Path | None = None
    ssh_config: Path | None = None
    accelerator: str = "auto"
    emulator: str = ""
    beacon_period_s: float = 1.0
    suspect_after_s: float = 1.5
    dead_after_s: float = 3.0
    blind_share: float = 0.5
    log_level: str = "INFO"
    starts_per_host: int = field(default=16)
    live_rescheds: int = 0
    cold_migrate_mode: int = 0
    datastore_period_s: float = 300.0
    datastore_capacity_check: int = 1
    scripts_remote_dir: Path = Path("/var/tmp/one")
    vmm_mad: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    tm_mad_conf: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def datastores_path(self) -> Path:
        """Where the datastores are mounted, on the controller and on every host."""
        return self.datastores or self.var / "datastores"

    @property
    def heartbeats_path(self) -> Path:
        """The folder of the hosts' heartbeat files, on shared storage."""
        return self.heartbeats or self.datastores_path / "heartbeats"

    @property
    def auth_path(self) -> Path:
        """The file with oneadmin's name and password."""
        return self.one_auth or self.var / ".one" / "one_auth"


def load(path: Path | None, overrides: Mapping[str, Any]) -> Config:
    """The configuration from a file (the default one may be missing) and options; raises ConfigError."""
    values = _read(path or DEFAULT_FILE, required=path is not None)
    chosen = {key: value for key, value in overrides.items() if value is not None}
    return _checked(replace(Config(), **{**values, **chosen}))


def _read(path: Path, required: bool) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            given = tomllib.load(file)
    except FileNotFoundError:
        if required:
            raise ConfigError(f"There is no configuration file {path}.") from None
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"Cannot read configuration file {path}: {error}.") from None
    return {key: _converted(path, key, value) for key, value in given.items()}


def _converted(path: Path, key: str, value: Any) -> Any:
    types = {item.name: str(item.type) for item in fields(Config)}
    if key not in types:
        raise ConfigError(f"Configuration file {path}: unknown key {key}; known are {', '.join(sorted(types))}.")
    if types[key] in ("float", "int"):
        return value  # numbers are checked together with their relations
    if types[key].startswith("Mapping"):
        return _tables(path, key, value)
    words = value if "tuple" in types[key] and isinstance(value, list) else [value]
    if not words or not all(isinstance(word, str) for word in words):
        wanted = "text or a list of texts" if "tuple" in types[key] else "text"
        raise ConfigError(f"Configuration file {path}: {key} must be {wanted}, it is {value!r}.")
    if "Path" in types[key]:
        return Path(value)
    return tuple(words) if "tuple" in types[key] else value


def _tables(path: Path, key: str, value: Any) -> dict[str, dict[str, str]]:
    """A table of tables of texts."""
    tables = value if isinstance(value, dict) else {"": value}
    for name, table in tables.items():
        if not isinstance(table, dict) or not all(isinstance(text, str) for text in table.values()):
            example = f"[{key}.{name or 'NAME'}] with lines like {_EXAMPLES[key]}"
            raise ConfigError(f"Configuration file {path}: {key} must hold tables of texts: {example}.")
    return tables


def _checked(config: Config) -> Config:
    for key in (
        "beacon_period_s",
        "suspect_after_s",
        "dead_after_s",
        "blind_share",
        "starts_per_host",
        "datastore_period_s",
    ):
        value = getattr(config, key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise ConfigError(f"{key} must be a positive number, it is {value!r}.")
    if not isinstance(config.starts_per_host, int):
        raise ConfigError(f"starts_per_host must be a whole number, it is {config.starts_per_host}.")
    for key, highest in (("live_rescheds", 1), ("cold_migrate_mode", 2), ("datastore_capacity_check", 1)):
        if type(getattr(config, key)) is not int or not 0 <= getattr(config, key) <= highest:
            raise ConfigError(f"{key} must be a whole number from 0 to {highest}, it is {getattr(config, key)!r}.")
    if not config.beacon_period_s < config.suspect_after_s < config.dead_after_s:
        raise ConfigError(
            "beacon_period_s < suspect_after_s < dead_after_s must hold, they are "
            f"{config.beacon_period_s}, {config.suspect_after_s}, {config.dead_after_s}."
        )
    for key, known in (("log_level", LOG_LEVELS), ("accelerator", ACCELERATORS)):
        if getattr(config, key) not in known:
            raise ConfigError(f'{key} is "{getattr(config, key)}", it must be one of {", ".join(known)}.')
    try:
        TmConf(config.tm_mad_conf)
        site_hypervisors(config.vmm_mad)
    except TemplateError as error:
        raise ConfigError(error.message) from None
    if config.ssh_config and not config.ssh_config.is_file():
        raise ConfigError(f"ssh_config is {config.ssh_config}, there is no such file: write it or leave the key out.")
    if not _PLAIN_PATH.fullmatch(str(config.scripts_remote_dir)):
        rule = "an absolute path of letters, digits, _, - and dots, and not /"
        raise ConfigError(f"scripts_remote_dir must be {rule}; it is {config.scripts_remote_dir}.")
    for address in (*config.listen, *config.beacons):
        if inherited_descriptor(address) is None:
            split_address(address)
    return config


def inherited_descriptor(address: str) -> int | None:
    """The number of an inherited socket, written ``fd://7``; None for any other address."""
    scheme, _, number = address.partition("://")
    return int(number) if scheme == "fd" and number.isdigit() else None


def split_address(address: str) -> tuple[str, int]:
    """``ip:port`` as a pair; raises ConfigError."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f'"{address}" is not an address: write ip:port, for example 127.0.0.1:2633.')
    return host.strip("[]"), int(port)
