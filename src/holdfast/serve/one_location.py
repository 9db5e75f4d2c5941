"""The tree that driver scripts know as ``ONE_LOCATION``, and the environment they run in.

Scripts look for ``$ONE_LOCATION/var/remotes``, ``lib/sh/scripts_common.sh``, ``var/config`` and the commands; ours is
``<var>/one``, made of links to where these things really are.  ``etc/tmrc`` in it is the site's: each of its lines
``NAME=value`` becomes a variable of every script.
"""

from __future__ import annotations

import os
import re
import shlex
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from holdfast.serve.config import Config, ConfigError

COMMANDS = ("onevm", "onehost", "onehook", "oneimage", "onedatastore", "holdfast")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_VARIABLE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)")


class OneLocation:
    """The tree of one controller."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.path = config.var / "one"

    def prepare(self) -> None:
        """Makes the tree, or brings it up to date; raises ConfigError."""
        var, programs = self._config.var.absolute(), Path(sys.executable).parent.absolute()
        links = {
            "lib/sh/scripts_common.sh": var / "remotes" / "scripts_common.sh",
            "var/remotes": var / "remotes",
            "var/vms": var / "vms",
            "var/datastores": self._config.datastores_path.absolute(),
            **{f"bin/{name}": programs / name for name in COMMANDS if (programs / name).exists()},
        }
        try:
            for name, target in links.items():
                _link(self.path / name, target)
            (self.path / "etc").mkdir(exist_ok=True)
            _write(self.path / "var" / "config", self._settings())
        except OSError as error:
            raise ConfigError(f"Cannot make {self.path}: {error.strerror} ({error.filename}).") from None

    def environment(self, endpoint: str) -> Mapping[str, str]:
        """What every script finds in its environment; secrets are in the file that ONE_AUTH names."""
        return {
            "ONE_LOCATION": str(self.path.absolute()),
            "ONE_AUTH": str(self._config.auth_path.absolute()),
            "ONE_XMLRPC": endpoint,
            "DS_DIR": str(self._config.datastores_path.absolute()),
            "HOLDFAST_PYTHON": sys.executable,
            **({"SSH": f"ssh -F {self._config.ssh_config.absolute()}"} if self._config.ssh_config else {}),
            "PATH": f"{self.path.absolute() / 'bin'}:{_PATH}",
            **self._own_variables(),
        }

    def _settings(self) -> str:
        values = {
            "DATASTORE_LOCATION": str(self._config.datastores_path.absolute()),
            "HOSTNAME": socket.gethostname(),
            "SCRIPTS_REMOTE_DIR": str(self._config.scripts_remote_dir),
            "VM_DIR": str(self._config.datastores_path.absolute()),
        }
        return "".join(f"{name}={value}\n" for name, value in values.items())

    def _own_variables(self) -> dict[str, str]:
        path = self.path / "etc" / "tmrc"
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"Cannot read {path}: {error}.") from None
        return dict(_variable(path, number, line) for number, line in enumerate(lines, 1) if _is_assignment(line))


def _is_assignment(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _variable(path: Path, number: int, line: str) -> tuple[str, str]:
    """The words behind = as the shell reads them, without expanding anything."""
    found = _VARIABLE.fullmatch(line.strip())
    try:
        if found:
            return found[1], " ".join(shlex.split(found[2], comments=True))
    except ValueError:
        pass
    raise ConfigError(f'{path}, line {number}: "{line.strip()}" must be NAME=value, quoted as in a shell.')


def _link(place: Path, target: Path) -> None:
    if place.is_symlink() and os.readlink(place) == str(target):
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_name(f".{place.name}.draft")
    draft.unlink(missing_ok=True)
    draft.symlink_to(target)
    draft.replace(place)


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
