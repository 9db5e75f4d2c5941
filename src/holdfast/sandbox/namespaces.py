"""The namespaces of the rack and of its hosts, as prefixes of command lines.

The rack has mounts, a network and processes of its own; for an ordinary user also a user namespace, in which that user
is root.  The process namespace makes an end certain: when the supervisor dies, by whatever hand, everything in the rack
dies with it.  Each host has the same again, inside.  libvirtd only works without /etc and /var of its own when it is
not root, so it gets one more user namespace.
"""

import os
from collections.abc import Sequence

from holdfast.sandbox.commands import run
from holdfast.sandbox.errors import RackError

_OWN_PROCESSES = ["--pid", "--fork", "--mount-proc", "--kill-child=KILL"]


def rack_namespaces() -> list[str]:
    """Runs what follows as the first process of a rack."""
    root_inside = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *root_inside, "--mount", "--net", *_OWN_PROCESSES, "--"]


HYPERVISOR_ID = 1000
"""User and group id of libvirtd and QEMU as they see themselves."""


def host_namespaces() -> list[str]:
    """Runs what follows, from within a rack, as the first process of a host."""
    return ["unshare", "--mount", "--net", "--uts", "--ipc", *_OWN_PROCESSES, "--"]


def not_root() -> list[str]:
    """Runs what follows, from within a host, as somebody who is not root but may do the same to our files."""
    return ["unshare", "--user", f"--map-user={HYPERVISOR_ID}", f"--map-group={HYPERVISOR_ID}", "--"]


def enter_network(supervisor_pid: int, *, tied: bool) -> list[str]:
    """Runs what follows in the rack's network, with the files of whoever runs it; a tied process dies with the rack."""
    target = ["nsenter", "--target", str(supervisor_pid)]
    as_ourselves = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
    return [*target, *as_ourselves, "--net", *(["--pid"] if tied else []), "--"]


def enter_host(supervisor_pid: int, first_pid: int) -> list[str]:
    """Runs what follows on the host whose first process has this number inside the rack."""
    as_root_inside = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
    rack = ["nsenter", "--target", str(supervisor_pid), *as_root_inside, "--mount", "--net", "--pid", "--"]
    return [*rack, "nsenter", "--target", str(first_pid), "--mount", "--net", "--uts", "--ipc", "--pid", "--"]


def enter_mounts(host_pid: int) -> list[str]:
    """Runs what follows, from within the rack, with a host's view of the file system and of /proc."""
    return ["nsenter", "--target", str(host_pid), "--mount", "--pid", "--"]


def require_namespaces() -> None:
    """Refuses, with the reason and the way out, a machine that does not let us do this."""
    nested: Sequence[str] = [*rack_namespaces(), *host_namespaces(), *not_root(), "true"]
    try:
        run(nested, 20)
    except RackError as exc:
        way_out = (
            "in a container, start it with --privileged (or --cap-add SYS_ADMIN --cap-add NET_ADMIN and a seccomp "
            "profile that allows unshare); on a machine of your own, allow user namespaces: "
            "sysctl user.max_user_namespaces=10000 kernel.unprivileged_userns_clone=1 "
            "kernel.apparmor_restrict_unprivileged_userns=0, or run the sandbox as root"
        )
        raise RackError(f"namespaces are forbidden here: {exc}. Way out: {way_out}") from None
