"""A copy of a gibibyte between machines, with the copying program killed, and with the controller killed.

Real controller, real ssh servers on hosts that share nothing; only the hypervisor is a dummy.  The host's disk is the
image's to the last byte afterwards, and ``holdfast check storage`` finds nothing that was left behind.
"""

from __future__ import annotations

import hashlib
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from holdfast.drivers.tm.home import MARK
from holdfast.model.vm_states import LcmState
from tests.e2e.daemon import Daemon, until
from tests.unit.tm.ssh_hosts import SshHost, running

MIB = 1 << 20
SIZE_MIB = 1024
COPY_LIMIT_S = 180.0
NAMES = ("apart1", "apart2")


class Site:
    """A controller and two hosts that share nothing, with an image that takes a while to copy."""

    def __init__(self, base: Path, daemon: Daemon, hosts: tuple[SshHost, SshHost]) -> None:
        self.daemon, self.hosts = daemon, hosts
        self.host_ids = [daemon.host(host.name) for host in hosts]
        call = daemon.api.call
        self.system = int(call("one.datastore.allocate", 'NAME="apart"\nTYPE="SYSTEM_DS"\nTM_MAD="ssh"', -1))
        images = int(call("one.datastore.allocate", 'NAME="i"\nTYPE="IMAGE_DS"\nTM_MAD="ssh"\nDS_MAD="fs"', -1))
        content = base / "content"
        with content.open("wb") as file:
            for _ in range(SIZE_MIB):
                file.write(os.urandom(MIB))
        self.checksum = checksum(content)
        text = f'NAME="big"\nPATH="{content}"\nTYPE="DATABLOCK"\nFORMAT="raw"'
        self.image = int(call("one.image.allocate", text, images))
        until(lambda: daemon.one.image.info(self.image).STATE == 1, COPY_LIMIT_S, "the image is ready")
        content.unlink()

    def deploy(self) -> int:
        """A VM on the first host, whose disk is being copied."""
        text = f'NAME="vm"\nCPU="1"\nMEMORY="64"\nDISK=[IMAGE_ID="{self.image}"]'
        vm_id = int(self.daemon.api.call("one.vm.allocate", text, True))
        self.daemon.api.call("one.vm.deploy", vm_id, self.host_ids[0], False, -1, "")
        return vm_id

    def has_copied(self, vm_id: int, percent: int = 15) -> bool:
        """Whether so much of the copy under way is done."""
        said = self.daemon.api.xml("one.vm.info", vm_id).findtext("USER_TEMPLATE/TRANSFER_PERCENT", "0")
        return int(said) >= percent

    def state(self, vm_id: int) -> str:
        """LCM_STATE in words."""
        return LcmState(int(self.daemon.vm_at(vm_id)[1])).name

    def check(self, vm_id: int, host: SshHost) -> None:
        """The VM's disk is whole on this host, and there is nothing else anywhere but the mark of how it came."""
        assert checksum(host.datastores / str(self.system) / str(vm_id) / "disk.0") == self.checksum
        for each in self.hosts:
            there = (path for path in each.datastores.rglob("*") if path.is_file() and path.name != MARK)
            found = {str(path.relative_to(each.datastores)) for path in there}
            assert found == ({f"{self.system}/{vm_id}/disk.0"} if each is host else set())
        ended = self.daemon.run("holdfast", "check", "storage")
        assert ended.returncode == 0, f"{ended.stdout} {ended.stderr}"


def checksum(path: Path) -> str:
    """Of a large file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.fixture
def site() -> Iterator[Site]:
    """On a real disk; the hosts' datastores lie at the path of the controller's."""
    with tempfile.TemporaryDirectory(prefix="hf-", dir="/var/tmp") as scratch:
        base = Path(scratch)
        root = base / "controller/var/datastores"
        root.mkdir(parents=True)
        one, two = (SshHost(base, name, root) for name in NAMES)
        config = base / "ssh_config"
        config.write_text("".join(host.client_config() for host in (one, two)), encoding="ascii")
        with running(one, two), closing(Daemon(base / "controller", {"ssh_config": str(config)})) as daemon:
            yield Site(base, daemon.start(), (one, two))


def test_a_copy_of_a_gibibyte_survives_the_death_of_the_copying_program_and_of_the_controller(site: Site) -> None:
    first, second = site.hosts
    vm_id = site.deploy()
    until(lambda: site.has_copied(vm_id), COPY_LIMIT_S, "a part of the image is copied")
    os.kill(first.find("--extract"), signal.SIGKILL)
    until(lambda: site.state(vm_id) == "PROLOG_FAILURE", COPY_LIMIT_S, "the copy has failed")
    shown = " ".join(site.daemon.done("onevm", "show", str(vm_id)).split())
    assert "tar failed with exit code -9" in shown, shown
    assert first.files(str(site.system)) in ([], [str(vm_id)]), "half a copy is gone"
    site.daemon.done("onevm", "recover", "--retry", str(vm_id))
    site.daemon.wait_for_vm(vm_id, site.host_ids[0], COPY_LIMIT_S)
    site.check(vm_id, first)

    site.daemon.done("onevm", "migrate", str(vm_id), second.name)
    until(lambda: site.state(vm_id) == "PROLOG_MIGRATE" and site.has_copied(vm_id), COPY_LIMIT_S, "half is moved")
    site.daemon.kill()
    assert checksum(first.datastores / str(site.system) / str(vm_id) / "disk.0") == site.checksum
    assert not (second.datastores / str(site.system) / str(vm_id)).exists()
    site.daemon.start()
    site.daemon.wait_for_vm(vm_id, site.host_ids[1], COPY_LIMIT_S)
    site.check(vm_id, second)
