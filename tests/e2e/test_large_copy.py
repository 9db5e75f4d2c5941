"""A disk of 1 GiB on its way between machines: the controller is killed, then the copy; not a byte is lost."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.daemon import Daemon, until
from tests.unit.tm.ssh_hosts import SshHost, a_client, running

MIB = 1 << 20
SIZE_MB = 1024
COPY_LIMIT_S = 120.0


def test_a_copy_of_a_gibibyte_survives_the_controllers_death_and_its_own(tmp_path: Path) -> None:
    with controlled(tmp_path) as daemon:
        datastores = daemon.var / "datastores"
        hosts = [SshHost(tmp_path, name, datastores) for name in ("host1", "host2")]
        host1, host2 = hosts
        a_client(tmp_path, *hosts)
        with running(*hosts):
            first, second = (daemon.host(host.name) for host in hosts)
            daemon.done("onedatastore", "create", stdin='NAME="own"\nTYPE="SYSTEM_DS"\nTM_MAD="ssh"\n')
            daemon.done("onedatastore", "disable", "0")
            digest = imported(daemon, tmp_path / "large")

            vm = int(daemon.done("onevm", "create", "--name", "large", "--cpu", "0.1", "--memory", "64", "--disk",
                                 "large", "--hold").split()[-1])  # fmt: skip
            daemon.done("onevm", "deploy", str(vm), str(first))
            until(lambda: arriving(host1, vm) > 128, COPY_LIMIT_S, "an eighth is on the host")
            assert 0 < percent(daemon, vm) < 100
            daemon.kill()
            assert not disk(host1, vm).exists()
            until(lambda: not host1.find("--extract"), what="nobody receives any more")
            daemon.start()
            daemon.wait_for_vm(vm, first, COPY_LIMIT_S)
            assert checksum(disk(host1, vm)) == digest

            daemon.done("onevm", "poweroff", "--hard", str(vm))
            until(lambda: daemon.vm_at(vm)[0] == "8", what="it is off")
            daemon.done("onevm", "migrate", str(vm), str(second))
            until(lambda: arriving(host2, vm) > 128, COPY_LIMIT_S, "an eighth has moved")
            os.kill(host2.find("tar", "--extract"), signal.SIGKILL)
            until(lambda: "PROLOG_MIGRATE_POWEROFF_FAILURE" in daemon.done("onevm", "show", str(vm)), COPY_LIMIT_S)
            assert "host host2: writing" in daemon.done("onevm", "show", str(vm))
            assert checksum(disk(host1, vm)) == digest
            assert not disk(host2, vm).exists()
            daemon.done("onevm", "recover", "--retry", str(vm))
            until(lambda: daemon.vm_at(vm)[0] == "8", COPY_LIMIT_S, "it is off again")
            assert checksum(disk(host2, vm)) == digest
            assert leftovers(hosts) == [f"host2 {vm}"]
            assert daemon.run("holdfast", "check", "storage").returncode == 0


@contextmanager
def controlled(directory: Path) -> Iterator[Daemon]:
    """A controller that will know hosts by ssh."""
    (directory / "ssh_config").touch()
    daemon = Daemon(directory / "controller", {"ssh_config": str(directory / "ssh_config")})
    try:
        yield daemon.start()
    finally:
        daemon.close()


def imported(daemon: Daemon, path: Path) -> str:
    """An image full of random data; its checksum."""
    with path.open("wb") as file:
        for _ in range(SIZE_MB // 64):
            file.write(os.urandom(64 * MIB))
    image = daemon.done("oneimage", "create", "-d", "default", "--name", "large", "--path", str(path)).split()[-1]
    until(lambda: daemon.one.image.info(int(image)).STATE == 1, COPY_LIMIT_S, "the image is READY")
    return checksum(path)


def arriving(host: SshHost, vm: int) -> int:
    """MiB of the VM that a copy has brought to the host, none of which is a disk yet."""
    drafts = [*host.datastores.glob(f"100/{vm}/*.draft.*/*"), *host.datastores.glob(f"100/{vm}.draft.*/*")]
    return sum(draft.stat().st_blocks for draft in drafts) * 512 // MIB


def disk(host: SshHost, vm: int) -> Path:
    return host.datastores / f"100/{vm}/disk.0"


def percent(daemon: Daemon, vm: int) -> int:
    """How far the API says that the copy is."""
    return int(daemon.api.xml("one.vm.info", vm).findtext("USER_TEMPLATE/TRANSFER_PERCENT", "-1"))


def checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def leftovers(hosts: list[SshHost]) -> list[str]:
    """All that lies on the hosts."""
    return [f"{host.name} {entry.name}" for host in hosts for entry in sorted((host.datastores / "100").iterdir())]
