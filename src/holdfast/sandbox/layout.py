"""Where everything of a rack is: its directory, its network, its names.

One rack lives in one directory, which it marks as its own; nothing outside is changed.  The addresses are the same in
every rack, because each has a network namespace to itself.  Hosts are numbered from 1.
"""

import json
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from holdfast.sandbox.errors import RackError

MOST_HOSTS = 32
CONTROLLER_ADDRESS = "10.77.0.254"
LIBVIRT_PORT = 16509
SSH_PORT = 2222
SSH_USER = "holdfast"
NBD_PORT = 10809
BMC_PORT = 623
BMC_USER = "admin"
SYSTEM_DATASTORE = 0
IMAGE_DATASTORE = 1
_LONGEST_DIRECTORY = 80  # a Unix socket's path has at most 107 bytes, and ours lie in this directory
_AWKWARD = re.compile(r"[\s'\"\\,]")


class Storage(StrEnum):
    """How the hosts reach the datastores."""

    DIR = "dir"  # a shared directory, as if over a storage network of its own: a cut host keeps it
    NBD = "nbd"  # disks over the hosts' one network: a cut host loses them
    SSH = "ssh"  # hosts share nothing: each has its own, and files are copied by ssh


@dataclass(frozen=True)
class HostPlace:
    """The fixed properties of host number N."""

    number: int

    @property
    def name(self) -> str:
        """The host's name, in the rack and as its hostname."""
        return f"host{self.number}"

    @property
    def address(self) -> str:
        """Its address on the rack's network."""
        return f"10.77.0.{self.number}"

    @property
    def bmc_address(self) -> str:
        """Its BMC's address."""
        return f"10.77.1.{self.number}"

    @property
    def libvirt_uri(self) -> str:
        """Its libvirtd, for clients in the rack's network namespace."""
        return f"qemu+tcp://{self.address}/session"


@dataclass(frozen=True)
class RackConfig:
    """What to build."""

    directory: Path
    hosts: int = 3
    storage: Storage = Storage.DIR

    def __post_init__(self) -> None:
        if not 1 <= self.hosts <= MOST_HOSTS:
            raise RackError(f"{self.hosts} hosts: a rack has 1 to {MOST_HOSTS}")
        path = str(self.directory)
        if not self.directory.is_absolute() or _AWKWARD.search(path):
            raise RackError(
                f"directory {path!r}: needs to be absolute, without white space, quotes, backslashes, commas"
            )
        if len(path.encode()) > _LONGEST_DIRECTORY:
            raise RackError(
                f"directory {path}: longer than {_LONGEST_DIRECTORY} bytes, so its sockets could not be opened"
            )

    @property
    def places(self) -> tuple[HostPlace, ...]:
        """Every host's fixed properties."""
        return tuple(HostPlace(number) for number in range(1, self.hosts + 1))


@dataclass(frozen=True)
class Layout:
    """The files of the rack in this directory."""

    root: Path

    @property
    def marker(self) -> Path:
        """What makes the directory a rack's, and how it was built."""
        return self.root / "rack.json"

    @property
    def control(self) -> Path:
        """The supervisor's socket."""
        return self.root / "control.sock"

    @property
    def log(self) -> Path:
        """What the supervisor has to say."""
        return self.root / "supervisor.log"

    @property
    def bmc_password(self) -> Path:
        """The password of every BMC in the rack, for its owner only."""
        return self.root / "bmc-password"

    @property
    def datastores(self) -> Path:
        """OpenNebula's datastores, at the same path on every host; with ssh the controller's own."""
        return self.root / "datastores"

    @property
    def heartbeats(self) -> Path:
        """The hosts' heartbeat files, on the shared storage."""
        return self.root / "heartbeats"

    @property
    def consoles(self) -> Path:
        """The guests' serial consoles, as if wired to a console server: no host's death or cut touches them."""
        return self.root / "consoles"

    def host(self, place: HostPlace) -> Path:
        """The host's local disk."""
        return self.root / "hosts" / place.name

    def host_datastores(self, place: HostPlace) -> Path:
        """The host's own datastores, which it sees in place of the controller's when nothing is shared."""
        return self.host(place) / "datastores"

    @property
    def ssh(self) -> Path:
        """Keys and configuration of the ssh client."""
        return self.root / "ssh"

    @property
    def ssh_config(self) -> Path:
        """For `ssh -F`: how each host is reached by its name."""
        return self.ssh / "config"

    def host_ssh(self, place: HostPlace) -> Path:
        """Keys and configuration of the host's ssh server."""
        return self.host(place) / "ssh"

    def sshd_config(self, place: HostPlace) -> Path:
        """The switch of the host's ssh server: it runs while this file is there."""
        return self.host_ssh(place) / "sshd_config"

    def bmc(self, place: HostPlace) -> Path:
        """The BMC's configuration and state."""
        return self.root / "bmc" / place.name

    def create(self, config: RackConfig) -> None:
        """Marks the directory and makes the folders; it must be ours and without a rack."""
        folders = [self.datastores / str(number) for number in (SYSTEM_DATASTORE, IMAGE_DATASTORE)]
        folders += [self.heartbeats, self.consoles]
        folders += [folder for place in config.places for folder in (self.host(place), self.bmc(place) / "state")]
        if config.storage is Storage.SSH:
            folders += [self.host_datastores(place) for place in config.places]
        for folder in folders:
            folder.mkdir(parents=True)
        fields = asdict(config) | {"directory": str(config.directory)}
        self.marker.write_text(json.dumps(fields) + "\n", encoding="utf-8")

    def config(self) -> RackConfig:
        """How the rack here was built."""
        try:
            fields = json.loads(self.marker.read_text(encoding="utf-8"))
            return RackConfig(Path(fields["directory"]), int(fields["hosts"]), Storage(fields["storage"]))
        except (OSError, ValueError, KeyError, TypeError):
            raise RackError(f"{self.root}: no rack's directory, {self.marker.name} is missing or damaged") from None


def default_directory() -> Path:
    """The rack that is meant when no directory is given."""
    return Path(f"/var/tmp/holdfast-{os.getuid()}/rack")


def require_private(directory: Path) -> None:
    """Refuses a directory in which, or above which, somebody else could put things of their own."""
    found, above = directory.lstat(), directory.parent.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise RackError(f"{directory}: not a directory")
    if found.st_uid != os.geteuid():
        raise RackError(f"{directory}: belongs to user {found.st_uid}, not to you; choose another with --dir")
    if found.st_mode & 0o022:
        raise RackError(f"{directory}: others may write to it; run chmod go-w {directory} or choose another with --dir")
    shared = above.st_mode & 0o022 and not above.st_mode & stat.S_ISVTX
    if shared or above.st_uid not in (0, os.geteuid()):
        raise RackError(
            f"{directory.parent}: somebody else could replace what is in it; choose another place with --dir"
        )


def find_host(places: Sequence[HostPlace], text: str) -> HostPlace:
    """The host of this name or number."""
    for place in places:
        if text in (place.name, str(place.number)):
            return place
    names = ", ".join(place.name for place in places)
    raise RackError(f"unknown host {text!r}; this rack has {names} (a number will do)")
