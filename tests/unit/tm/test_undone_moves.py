"""Moves that ended half way, were given up, and what the next step does: no last copy goes, no old one is started."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from holdfast.drivers.tm import layout
from holdfast.drivers.tm.driver import TmDriver
from holdfast.drivers.tm.home import MARK
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.vm import Vm
from tests.unit.tm.site import Site
from tests.unit.tm.ssh_hosts import PERSISTENT, SshSite, ok, placed
from tests.unit.vmm.objects import a_stay, elsewhere

K = EffectKind
CONTEXT = 'CONTEXT=[DISK_ID="1", TARGET="hda", SET_HOSTNAME="web"]\n'
WRITTEN = "0x66"


@pytest.fixture
def site(ssh_site: SshSite) -> SshSite:
    """Two hosts that hold nothing yet."""
    return ssh_site


@pytest.fixture
def mount(tmp_path: Path) -> Site:
    """One mount that all hosts see."""
    return Site(tmp_path)


def written(site: SshSite, extra: str = CONTEXT, kind: str = "CLONE=YES, SAVE=NO") -> Vm:
    """A VM that has written to its disk on host 1."""
    vm = placed(site.vm(site.disk(site.image("aaa"), extra=kind) + extra), 1)
    ok(site.run(K.TM_PROLOG, vm))
    site.write(site.host1.directory / "disk.0", "qcow2", WRITTEN)
    return vm


def cut_move(site: SshSite, vm: Vm, point: str) -> None:
    """A move to host 2 that ends before this order."""
    site.cut(point)
    assert not site.run(K.TM_MIGRATE, placed(vm, 1, 2)).ok
    site.cut("")


def start(site: Site, vm: Vm) -> Answer:
    """What a start does before the hypervisor gets the VM."""
    if isinstance(site, SshSite):
        site.driver = TmDriver(site.root, site.vms, "front", hands=site.hands())
    found = asyncio.run(site.driver.come_home(vm, 20))
    return asyncio.run(site.driver.make_context(vm, 20)) if found.ok else found


def refused(answer: Answer, *words: object) -> None:
    assert not answer.ok
    for word in words:
        assert str(word) in answer.message, answer.message


@pytest.mark.parametrize("point", ["set_aside", "settle", "drop_set_aside"])
def test_a_vm_whose_move_was_given_up_starts_where_it_was_and_is_moved_again(site: SshSite, point: str) -> None:
    vm = written(site)
    cut_move(site, vm, point)
    ok(start(site, placed(vm, 1, 2, 1)))
    assert site.host1.files("0") == ["7"]
    assert site.host1.files() == ["disk.0", "disk.1"]
    assert site.holds(site.host1.directory / "disk.0", "qcow2", WRITTEN)
    site.write(site.host1.directory / "disk.0", "qcow2", "0x77")
    ok(site.run(K.TM_MIGRATE, placed(vm, 1, 2, 1, 2)))
    assert site.holds(site.host2.directory / "disk.0", "qcow2", "0x77")
    assert site.host1.files("0") == []
    assert site.leftovers() == []


def test_a_vm_that_is_moved_on_after_its_destination_died_takes_its_disks_along(site: SshSite) -> None:
    """The failover tries the old place, cannot start it there, and moves it on to a third one."""
    vm = written(site, extra="")
    cut_move(site, vm, "settle")
    layout.remove(site.host2.inside / "0/7")
    stays = [a_stay(hid, seq, tm_mad="ssh") for seq, hid in enumerate((1, 2, 1))]
    vm = elsewhere(vm, *stays, a_stay(2, 3, ds_id=100, tm_mad="ssh"))
    ok(site.run(K.TM_MIGRATE, vm))
    assert site.holds(site.host2.datastores / "100/7/disk.0", "qcow2", WRITTEN)
    assert site.host1.files("0") == []


def test_the_end_of_a_vm_whose_move_was_given_up_brings_its_disk_back_and_removes_the_rest(site: SshSite) -> None:
    vm = written(site, kind=PERSISTENT)
    cut_move(site, vm, "settle")
    ok(site.run(K.TM_EPILOG, placed(vm, 1, 2, 1)))
    assert site.holds(site.root / "1/aaa", "qcow2", WRITTEN)
    assert site.host1.files("0") == []


def test_a_vm_whose_directory_is_nowhere_is_not_given_an_empty_one(site: SshSite) -> None:
    vm = written(site)
    layout.remove(site.host1.inside / "0/7")
    directory = f"{site.root}/0/7"
    refused(start(site, vm), f"host host1: {directory}, the directory of the VM, is not there")
    refused(asyncio.run(site.driver.make_context(vm, 20)), directory)
    text = site.disk(site.root / "1/aaa") + site.disk(site.root / "1/aaa", disk_id=2, extra="CLONE=YES, ATTACH=YES")
    refused(site.run(K.TM_ATTACH, placed(site.vm(text), 1), ITEM=2), directory)
    refused(site.run(K.TM_SNAPSHOT_CREATE, vm, DISK_ID=0, ITEM=0), directory)
    assert site.host1.files("0") == []


def test_a_vm_without_disks_of_its_own_gets_a_directory_for_its_context(site: SshSite) -> None:
    ok(start(site, placed(site.vm(CONTEXT), 1)))
    assert site.host1.files() == ["disk.1"]


def test_of_two_directories_neither_is_moved_or_removed(site: SshSite) -> None:
    vm = written(site)
    (site.host1.inside / "0/7").rename(site.host1.inside / "0/7.moved")
    (site.host1.inside / "0/7").mkdir()
    both = (f"{site.root}/0/7", f"{site.root}/0/7.moved", "are both there")
    refused(site.run(K.TM_MIGRATE, placed(vm, 1, 2)), *both)
    refused(site.run(K.TM_STOP, vm), *both)
    refused(site.run(K.TM_EPILOG, vm), *both)
    refused(site.run(K.TM_DELETE, vm), *both)
    assert site.host1.files("0") == ["7", "7.moved"]
    assert site.host1.files("0/7.moved") == ["disk.0"]


def test_what_an_earlier_life_left_at_the_destination_is_not_started(site: SshSite) -> None:
    vm = written(site)
    ok(site.run(K.TM_DELETE, vm, LOST="host1"))
    ok(site.run(K.TM_PROLOG, placed(vm, 1, 2)))
    site.write(site.host2.directory / "disk.0", "qcow2", "0x22")
    away = site.host2.datastores / "not-mounted"
    site.host2.directory.rename(away)
    back = placed(vm, 1, 2, 1)
    assert site.probe(K.TM_MIGRATE, back) is None
    names = (f"host2:{site.root}/0/7 does not exist", f"host1:{site.root}/0/7 did not arrive by this move")
    refused(site.run(K.TM_MIGRATE, back), *names, "onevm recover --success 7")
    assert site.holds(site.host1.directory / "disk.0", "qcow2", WRITTEN)
    away.rename(site.host2.directory)
    ok(site.run(K.TM_MIGRATE, back))
    assert site.holds(site.host1.directory / "disk.0", "qcow2", "0x22")


def test_what_came_by_an_earlier_move_has_not_come_by_this_one(site: SshSite) -> None:
    vm = written(site)
    cut_move(site, vm, "set_aside")
    (site.host1.inside / "0/7").rename(site.host1.inside / "0/elsewhere")
    again = placed(vm, 1, 2, 1, 2)
    refused(site.run(K.TM_MIGRATE, again), "did not arrive by this move")
    assert site.host2.files() == ["disk.0"]


def test_a_directory_that_lacks_a_disk_takes_no_other_ones_place(site: SshSite) -> None:
    vm = written(site)
    cut_move(site, vm, "set_aside")
    (site.host1.inside / "0/7/disk.0").unlink()
    refused(site.run(K.TM_MIGRATE, placed(vm, 1, 2, 1, 2)), f"host1:{site.root}/0/7 lacks disk.0", "host2")
    assert site.holds(site.host2.directory / "disk.0", "qcow2", WRITTEN)


def test_what_a_completed_move_left_aside_goes_when_the_vm_comes_back(site: SshSite) -> None:
    vm = written(site)
    cut_move(site, vm, "drop_set_aside")  # and recover --success
    assert site.host1.files("0") == ["7.moved"]
    site.write(site.host2.directory / "disk.0", "qcow2", "0x88")
    ok(site.run(K.TM_MIGRATE, placed(vm, 1, 2, 1)))
    assert site.host1.files("0") == ["7"]
    assert site.holds(site.host1.directory / "disk.0", "qcow2", "0x88")
    ok(site.run(K.TM_MIGRATE, placed(vm, 1, 2, 1, 2)))
    assert site.leftovers() == []


def test_a_mark_that_a_host_has_made_a_link_is_not_followed(site: SshSite) -> None:
    secret = site.host2.base / "secret"
    secret.write_text("secret")
    vm = written(site)
    (site.host1.inside / "0/7" / MARK).symlink_to(secret)
    refused(site.run(K.TM_MIGRATE, placed(vm, 1, 2)), MARK, "is a link")
    assert secret.read_text() == "secret"


def moved(vm: Vm, *datastores: int) -> Vm:
    """The VM after stays on these datastores, which all hosts see."""
    return elsewhere(vm, *(a_stay(1, seq, ds_id=ds_id) for seq, ds_id in enumerate(datastores)))


def on_the_mount(mount: Site) -> Vm:
    """A VM that has written to its disk on datastore 0."""
    vm = moved(mount.vm(mount.disk(mount.image("aaa")) + CONTEXT), 0)
    ok(mount.run(K.TM_PROLOG, vm))
    mount.write(mount.root / "0/7/disk.0", "qcow2", WRITTEN)
    return vm


def broken_move(mount: Site, vm: Vm, monkeypatch: pytest.MonkeyPatch) -> None:
    """A move to datastore 100 whose storage fails there once the directory has been renamed."""
    real = layout.sync

    def fail(path: Path) -> None:
        if path == mount.root / "100":
            raise OSError(5, "Input/output error", str(path))
        real(path)

    monkeypatch.setattr(layout, "sync", fail)
    refused(mount.run(K.TM_MIGRATE, moved(vm, 0, 100)), "Input/output error")
    monkeypatch.undo()


def test_a_rename_that_was_given_up_is_taken_back(mount: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    vm = on_the_mount(mount)
    broken_move(mount, vm, monkeypatch)
    assert mount.files("100") == ["7"]
    ok(start(mount, moved(vm, 0, 100, 0)))
    assert mount.files("100") == []
    assert mount.holds(mount.root / "0/7/disk.0", "qcow2", WRITTEN)
    ok(mount.run(K.TM_MIGRATE, moved(vm, 0, 100, 0, 100)))
    assert mount.holds(mount.root / "100/7/disk.0", "qcow2", WRITTEN)
    assert mount.leftovers() == []


def test_a_rename_that_was_given_up_is_repeated(mount: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    vm = on_the_mount(mount)
    broken_move(mount, vm, monkeypatch)
    ok(mount.run(K.TM_MIGRATE, moved(vm, 0, 100)))
    assert mount.leftovers() == []
    assert mount.probe(K.TM_MIGRATE, moved(vm, 0, 100))


def test_a_vm_that_is_removed_after_its_move_was_given_up_is_gone(mount: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    vm = on_the_mount(mount)
    broken_move(mount, vm, monkeypatch)
    ok(mount.run(K.TM_DELETE, moved(vm, 0, 100)))
    assert mount.files("0") == mount.files("100") == []


@pytest.mark.parametrize("call", ["set_aside", "drop_set_aside"])
def test_a_copy_between_datastores_that_was_given_up_is_taken_back(
    mount: Site, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    vm = on_the_mount(mount)
    real = Path.rename

    def across(self: Path, target: Path) -> Path:
        if self == mount.root / "0/7" and target == mount.root / "100/7":
            raise OSError(18, "Invalid cross-device link")
        return real(self, target)

    def broken(path: Path, *rest: object) -> None:
        """The room at the old place fails once the copy has its name."""
        if (mount.root / "100/7").exists():
            raise OSError(5, "Input/output error", str(path))
        kept(path, *rest)

    kept = getattr(layout, call)
    monkeypatch.setattr(Path, "rename", across)
    monkeypatch.setattr(layout, call, broken)
    refused(mount.run(K.TM_MIGRATE, moved(vm, 0, 100)), "Input/output error")
    monkeypatch.undo()
    assert mount.files("100") == ["7"]
    ok(start(mount, moved(vm, 0, 100, 0)))
    mount.write(mount.root / "0/7/disk.0", "qcow2", "0x77")
    ok(mount.run(K.TM_MIGRATE, moved(vm, 0, 100, 0, 100)))
    assert mount.holds(mount.root / "100/7/disk.0", "qcow2", "0x77")
    assert mount.leftovers() == []


def test_a_leftover_on_another_datastore_is_not_started(mount: Site) -> None:
    vm = on_the_mount(mount)
    old = mount.root / "100/7"
    subprocess.run(["cp", "-a", mount.root / "0/7", old], check=True)
    (mount.root / "0/7").rename(mount.root / "0/not-mounted")
    assert mount.probe(K.TM_MIGRATE, moved(vm, 0, 100)) is None
    refused(mount.run(K.TM_MIGRATE, moved(vm, 0, 100)), f"{old} did not arrive by this move")
    refused(start(mount, vm), f"{mount.root}/0/7, the directory of the VM, is not there")
    refused(asyncio.run(mount.driver.make_context(vm, 20)), f"{mount.root}/0/7")
    assert mount.files("0") == ["not-mounted"]
    assert mount.holds(old / "disk.0", "qcow2", WRITTEN)


def test_of_two_directories_on_a_mount_neither_is_moved_or_removed(mount: Site) -> None:
    vm = on_the_mount(mount)
    subprocess.run(["cp", "-a", mount.root / "0/7", mount.root / "0/7.moved"], check=True)
    for kind, it in ((K.TM_MIGRATE, moved(vm, 0, 100)), (K.TM_EPILOG, vm), (K.TM_DELETE, vm)):
        refused(mount.run(kind, it), f"{mount.root}/0/7.moved are both there")
    assert mount.files() == mount.files("0/7.moved") == ["disk.0", "disk.0.snap"]
