"""Steps on storage that is full, read-only or forbidden; ``test_bad_storage.py`` runs each in a mount namespace.

Each step fails for a reason that its answer names, leaves nothing half-made, and succeeds when it is done again after
the operator mended the storage: ``python -m tests.unit.tm.storage_scenarios NAME DIRECTORY``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.snapshot import DiskSnapshots
from tests.unit.tm.site import Site
from tests.unit.vmm.objects import a_stay, elsewhere

K = EffectKind
OK = Answer(ok=True)
CLONED, PERSISTENT = "CLONE=YES, SAVE=NO", "CLONE=NO, SAVE=YES, PERSISTENT=YES"
NOBODY = 65534


class SmallSite(Site):
    """A site whose system datastores 0 and 100 and image datastore 1 are file systems of their own."""

    def __init__(self, base: Path, sizes: dict[str, str]) -> None:
        super().__init__(base)
        for name, size in sizes.items():
            mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(self.root / name)]
            subprocess.run(mount, check=True, timeout=20)

    def fill(self, name: str) -> Path:
        """Takes the room there is, to the last byte."""
        ballast = self.root / name / "ballast"
        with ballast.open("wb", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue
        return ballast

    def remount(self, name: str, mode: str) -> None:
        """``ro`` or ``rw``."""
        subprocess.run(["mount", "-o", f"remount,{mode}", str(self.root / name)], check=True, timeout=20)

    def big_raw(self, name: str, size_mb: int) -> Path:
        """An image without holes."""
        path = self.root / "1" / name
        path.write_bytes(os.urandom(1 << 20) * size_mb)
        return path


def refused(answer: Answer, *words: str) -> None:
    """A certain failure that says these words."""
    assert not answer.ok
    assert answer.certain, answer
    for word in words:
        assert word in answer.message, answer.message


def prolog_on_a_full_datastore(base: Path) -> None:
    """PROLOG_FAILURE: too little room for a copy, and none at all for anything."""
    site = SmallSite(base, {"0": "6m"})
    vm = site.vm(site.disk(site.big_raw("aaa", 8), "raw"))
    refused(site.run(K.TM_PROLOG, vm), "No space left on device", f"no space is left in {site.directory}", "disk.0")
    assert site.files() == []
    subprocess.run(["mount", "-o", "remount,size=32m", str(site.root / "0")], check=True, timeout=20)
    assert site.run(K.TM_PROLOG, vm) == OK
    assert (site.directory / "disk.0").stat().st_size == 8 << 20
    for text in (site.disk(site.image("bbb")), "DISK=[DISK_ID=0, TYPE=swap, SIZE=2]",
                 "DISK=[DISK_ID=0, TYPE=fs, SIZE=2, FORMAT=qcow2]"):  # fmt: skip
        vm = site.vm(text)
        assert site.run(K.TM_DELETE, vm) == OK
        ballast = site.fill("0")
        refused(site.run(K.TM_PROLOG, vm), f"no space is left in {site.directory}")
        assert site.leftovers() == []
        assert not (site.directory / "disk.0").exists()
        ballast.unlink()
        assert site.run(K.TM_PROLOG, vm) == OK


def prolog_without_image(base: Path) -> None:
    """PROLOG_FAILURE: the image has gone, and comes back."""
    site = Site(base)
    for form in ("raw", "qcow2"):
        for kind in (CLONED, PERSISTENT):
            image = site.image("aaa", form)
            image.rename(image.with_name("elsewhere"))
            vm = site.vm(site.disk(image, form, kind))
            refused(site.run(K.TM_PROLOG, vm), f"image {image} does not exist")
            assert not site.directory.exists()
            image.with_name("elsewhere").rename(image)
            assert site.run(K.TM_PROLOG, vm) == OK
            assert site.run(K.TM_DELETE, vm) == OK


def prolog_where_nothing_may_be_written(base: Path) -> None:
    """PROLOG_FAILURE: a controller under an account that may not write there."""
    site = Site(base)
    vm = site.vm(site.disk(site.image("aaa", "raw"), "raw"))
    os.chown(site.vms.parent, NOBODY, NOBODY)
    readable = [base, *base.parents[:-1]]
    for path in readable:
        path.chmod(path.stat().st_mode | 0o755)
    subprocess.run(["chmod", "-R", "a+rX", str(site.root)], check=True, timeout=20)
    pid = os.fork()
    if pid == 0:
        try:
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            refused(site.run(K.TM_PROLOG, vm), "Permission denied", str(site.directory))
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    assert site.run(K.TM_PROLOG, vm) == OK


def migration_away_from_a_full_datastore(base: Path) -> None:
    """What is done about a full datastore must work when its last byte is taken."""
    site = SmallSite(base, {"0": "32m", "100": "32m"})
    vm = site.vm(site.disk(site.big_raw("aaa", 8), "raw"))
    assert site.run(K.TM_PROLOG, vm) == OK
    before = (site.directory / "disk.0").read_bytes()
    ballast = site.fill("0")
    moved = elsewhere(vm, a_stay(1, 0), a_stay(2, 1, ds_id=100))
    assert site.run(K.TM_MIGRATE, moved) == OK
    assert (site.root / "100/7/disk.0").read_bytes() == before
    assert site.files("0") == [ballast.name]
    assert site.run(K.TM_MIGRATE, moved) == OK, "again: it is known to have arrived"


def migration_to_a_full_datastore(base: Path) -> None:
    """PROLOG_MIGRATE_FAILURE: the origin stays whole until all of it is there."""
    site = SmallSite(base, {"0": "32m", "100": "4m"})
    vm = site.vm(site.disk(site.big_raw("aaa", 8), "raw"))
    assert site.run(K.TM_PROLOG, vm) == OK
    before = (site.directory / "disk.0").read_bytes()
    moved = elsewhere(vm, a_stay(1, 0), a_stay(2, 1, ds_id=100))
    refused(site.run(K.TM_MIGRATE, moved), "No space left on device", f"no space is left in {site.root}/100")
    assert (site.directory / "disk.0").read_bytes() == before
    assert site.files("100") == []
    assert site.probe(K.TM_MIGRATE, moved) is None
    subprocess.run(["mount", "-o", "remount,size=32m", str(site.root / "100")], check=True, timeout=20)
    assert site.run(K.TM_MIGRATE, moved) == OK
    assert (site.root / "100/7/disk.0").read_bytes() == before
    assert site.files("0") == []


def epilog_on_read_only_storage(base: Path) -> None:
    """EPILOG_FAILURE: nothing can be removed."""
    site = SmallSite(base, {"0": "8m"})
    vm = site.vm(site.disk(site.image("aaa")) + site.disk(site.image("bbb"), "qcow2", PERSISTENT, 1))
    assert site.run(K.TM_PROLOG, vm) == OK
    before = site.files()
    site.remount("0", "ro")
    for kind in (K.TM_EPILOG, K.TM_DELETE):
        refused(site.run(kind, vm), "Read-only file system", f"deleting {site.directory}/disk.0")
        assert site.files() == before
        assert site.probe(kind, vm) is None
    site.remount("0", "rw")
    assert site.run(K.TM_EPILOG, vm) == OK
    assert site.files("0") == []


def epilog_on_a_full_datastore(base: Path) -> None:
    """EPILOG_FAILURE: no room to take the layers of a persistent image in; they still hold what the guest wrote."""
    site = SmallSite(base, {"1": "8m"})
    image = site.image("aaa")
    vm = site.vm(site.disk(image, "qcow2", PERSISTENT))
    assert site.run(K.TM_PROLOG, vm) == OK
    assert site.run(K.TM_SNAPSHOT_CREATE, vm, DISK_ID=0, ITEM=0) == OK
    disk = site.directory / "disk.0"
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 0x77 64k 2M", disk], check=True, capture_output=True)
    ended = replace(vm, snapshots=(DiskSnapshots(0, next_oid=1),))
    ballast = site.fill("1")
    refused(site.run(K.TM_EPILOG, ended), "No space left on device", f"no space is left in {site.root}/1: ")
    assert b"verification failed" not in subprocess.check_output(
        ["qemu-io", "-r", "-f", "qcow2", "-c", "read -P 0x77 64k 2M", "-c", "read -P 0xab 0 64k", disk]
    )
    ballast.unlink()
    assert site.run(K.TM_EPILOG, ended) == OK
    assert site.files("1") == ["aaa"]
    assert b"verification failed" not in subprocess.check_output(
        ["qemu-io", "-r", "-f", "qcow2", "-c", "read -P 0x77 64k 2M", "-c", "read -P 0xab 0 64k", image]
    )


def disk_changes_on_a_full_datastore(base: Path) -> None:
    """Snapshots and sizes: the disk stays as it was."""
    site = SmallSite(base, {"0": "8m"})
    for form in ("raw", "qcow2"):
        vm = site.vm(site.disk(site.image(f"of-{form}", form), form))
        assert site.run(K.TM_PROLOG, vm) == OK
        assert site.run(K.TM_SNAPSHOT_CREATE, vm, DISK_ID=0, ITEM=0) == OK
        site.write(site.directory / "disk.0", form, "0x22")
        ballast = site.fill("0")
        refused(site.run(K.TM_SNAPSHOT_CREATE, vm, DISK_ID=0, ITEM=1), "No space left on device", "SNAP_CREATE")
        refused(site.run(K.TM_SNAPSHOT_REVERT, vm, DISK_ID=0, ITEM=0), "No space left on device", "SNAP_REVERT")
        assert site.holds(site.directory / "disk.0", form, "0x22")
        assert site.leftovers() == []
        assert site.probe(K.TM_SNAPSHOT_CREATE, vm, DISK_ID=0, ITEM=1) is None
        ballast.unlink()
        assert site.run(K.TM_SNAPSHOT_CREATE, vm, DISK_ID=0, ITEM=1) == OK
        assert site.run(K.TM_SNAPSHOT_REVERT, vm, DISK_ID=0, ITEM=0) == OK
        assert site.holds(site.directory / "disk.0", form, "0xab")
        assert site.run(K.TM_DELETE, vm) == OK


SCENARIOS = {
    scenario.__name__: scenario
    for scenario in (
        prolog_on_a_full_datastore,
        prolog_without_image,
        prolog_where_nothing_may_be_written,
        migration_away_from_a_full_datastore,
        migration_to_a_full_datastore,
        epilog_on_read_only_storage,
        epilog_on_a_full_datastore,
        disk_changes_on_a_full_datastore,
    )
}

if __name__ == "__main__":
    SCENARIOS[sys.argv[1]](Path(sys.argv[2]))
