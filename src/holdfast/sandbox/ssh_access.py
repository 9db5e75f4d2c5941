"""The way to a rack's hosts by ssh: keys made for this rack alone, and the configurations of both sides.

One key opens every host, as with OpenNebula's oneadmin.  Each host has a key of its own that the client knows
beforehand, and checks.  The server runs as the user of libvirtd and QEMU, who is not root, hence the port.
"""

from collections.abc import Iterable
from pathlib import Path

from holdfast.sandbox.commands import run
from holdfast.sandbox.layout import SSH_PORT, SSH_USER, HostPlace, Layout

_KEYGEN_LIMIT_S = 20
_IN_HOST = Path("/run/host/ssh")
"""The host's own folder `ssh`, as the host sees it."""


def prepare(layout: Layout, places: Iterable[HostPlace]) -> None:
    """Makes the keys and writes the configurations of the client and of every host's server.

    To be called within the rack, where whoever owns it is root: OpenSSH refuses users that the machine does not know.
    """
    layout.ssh.mkdir(mode=0o700)
    public = _make_key(layout.ssh / "key", "the rack's controller")
    known, sections = [], []
    for place in places:
        folder = layout.host_ssh(place)
        folder.mkdir(mode=0o700)
        known.append(f"{place.name} {_make_key(folder / 'host_key', place.name)}")
        (folder / "authorized_keys").write_text(f"{public}\n", encoding="ascii")
        layout.sshd_config(place).write_text(_server_config(place), encoding="ascii")
        sections.append(_section(f"Host {place.name}", {"HostName": place.address, "HostKeyAlias": place.name}))
    (layout.ssh / "known_hosts").write_text("".join(f"{line}\n" for line in known), encoding="ascii")
    layout.ssh_config.write_text("".join([*sections, _client_config(layout.ssh)]), encoding="ascii")


def _make_key(path: Path, comment: str) -> str:
    """A new key pair; its public half."""
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)], _KEYGEN_LIMIT_S)
    return path.with_suffix(".pub").read_text(encoding="ascii").strip()


def _client_config(folder: Path) -> str:
    settings = {
        "Port": SSH_PORT,
        "User": SSH_USER,
        "IdentityFile": folder / "key",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "UserKnownHostsFile": folder / "known_hosts",
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
    }
    return _section("Host *", settings)


def _section(head: str, settings: dict[str, object]) -> str:
    return "".join([f"{head}\n", *(f"  {name} {value}\n" for name, value in settings.items())])


def _server_config(place: HostPlace) -> str:
    """No look at the owners of folders above: in a user namespace they are nobody."""
    settings = {
        "ListenAddress": f"{place.address}:{SSH_PORT}",
        "HostKey": _IN_HOST / "host_key",
        "AuthorizedKeysFile": _IN_HOST / "authorized_keys",
        "StrictModes": "no",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "UsePAM": "no",
        "UseDNS": "no",
        "PidFile": "none",
        "Subsystem": "sftp internal-sftp",
    }
    return "".join(f"{name} {value}\n" for name, value in settings.items())
