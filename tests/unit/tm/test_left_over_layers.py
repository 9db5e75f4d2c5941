"""What a VM wrote to a persistent image is in it afterwards, or nobody is given an older version in silence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.drivers.tm.layers import insist_on_whole
from holdfast.drivers.tm.lines import TransferError
from holdfast.model.enums import EffectKind
from holdfast.model.snapshot import DiskSnapshots
from holdfast.model.vm import Vm
from tests.unit.tm.site import Site

K = EffectKind
PERSISTENT = "CLONE=NO, SAVE=YES, PERSISTENT=YES"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Empty datastores."""
    return Site(tmp_path)


def written(site: Site) -> Vm:
    """VM 7 with a persistent image, a snapshot, and 0x66 written after that."""
    vm = site.vm(site.disk(site.image("aaa"), "qcow2", PERSISTENT))
    assert site.run(K.TM_PROLOG, vm).ok
    assert site.run(K.TM_SNAPSHOT_CREATE, vm, DISK_ID=0, ITEM=0).ok
    site.write(site.directory / "disk.0", "qcow2", "0x66")
    return replace(vm, snapshots=(DiskSnapshots(0, next_oid=1),))


def test_at_the_end_the_image_holds_all_though_the_vms_datastore_is_not_mounted(site: Site) -> None:
    vm = written(site)
    (site.root / "0").rename(site.root / "elsewhere")
    (site.root / "0").mkdir()
    for _ in range(2):
        assert site.run(K.TM_EPILOG, vm).ok
        assert site.files("1") == ["aaa"]
        assert site.holds(site.root / "1/aaa", "qcow2", "0x66")


def test_at_the_end_the_image_holds_all_though_the_vms_directory_is_gone(site: Site) -> None:
    vm = written(site)
    site.directory.rename(site.root / "lost")
    assert site.run(K.TM_EPILOG, vm).ok
    assert site.holds(site.root / "1/aaa", "qcow2", "0x66")


def test_nobody_gets_a_copy_of_an_image_below_the_layers_of_an_earlier_vm(site: Site) -> None:
    vm = written(site)
    assert site.run(K.TM_DELETE, vm).ok
    image = site.root / "1/aaa"
    copied = site.vm(site.disk(image))
    answer = site.run(K.TM_PROLOG, copied)
    assert not answer.ok
    for word in (str(image), "layers that an earlier VM left, up to", "aaa.snap/1", "persistent image once"):
        assert word in answer.message
    with pytest.raises(TransferError):
        insist_on_whole(image)
    assert site.run(K.TM_PROLOG, replace(vm, snapshots=())).ok, "the way out that the message names"
    assert site.run(K.TM_EPILOG, vm).ok
    assert site.run(K.TM_PROLOG, copied).ok
    assert site.holds(site.directory / "disk.0", "qcow2", "0x66")
