"""Descriptions of domains that are adapted: a saved one to its new place, a new one to the layers of its disks."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.drivers.vmm.elements import document
from holdfast.drivers.vmm.hypervisor import DeploymentError
from holdfast.drivers.vmm.placed_disks import qcow2_disks, with_layers
from holdfast.drivers.vmm.saved_domain import adapted

SAVED = """<domain><metadata><old/></metadata><os><nvram>/ds/0/7/one-7_VARS.fd</nvram></os><devices>
  <disk type='file'><source file='/ds/0/7/disk.0.snap/1'><seclabel/></source><backingStore type='file'/>
    <target dev='vda'/><address slot='3'/></disk>
  <disk type='file' device='cdrom'><source file='/elsewhere.iso'/><target dev='hda'/></disk></devices></domain>"""
NOW = """<domain><os><nvram>/ds/5/7/one-7_VARS.fd</nvram></os><metadata><new/></metadata><devices>
  <disk type='network'><source protocol='nbd' name='one-7-disk-0'/><target dev='vda'/></disk></devices></domain>"""


def test_a_saved_domain_gets_the_places_of_now_and_keeps_its_devices() -> None:
    root = document(adapted(SAVED, NOW), "")
    disk, other = root.findall("devices/disk")
    assert (disk.get("type"), disk.find("source").get("name")) == ("network", "one-7-disk-0")
    assert disk.find("backingStore") is None
    assert disk.find("address").get("slot") == "3"
    assert other.find("source").get("file") == "/elsewhere.iso"
    assert root.findtext("os/nvram") == "/ds/5/7/one-7_VARS.fd"
    assert [child.tag for child in root.find("metadata")] == ["new"]


def test_what_is_not_xml_is_refused_with_its_name() -> None:
    with pytest.raises(DeploymentError, match="the saved domain is not well-formed"):
        adapted("<domain", NOW)


def test_a_disk_with_layers_is_described_by_its_active_layer() -> None:
    files = (("/sd/disk.0", "qcow2"), ("/sd/disk.1", "qcow2"), ("/sd/disk.2", "raw"), ("/iso/other", "qcow2"))
    disks = "".join(f"<disk><driver type='{kind}'/><source file='{path}'/></disk>" for path, kind in files)
    text = f"<domain><devices>{disks}<disk><driver type='qcow2'/><source dev='/sd/disk.3'/></disk></devices></domain>"
    assert qcow2_disks(text) == [Path("/sd/disk.0"), Path("/sd/disk.1")]
    root = document(with_layers(text, {"/sd/disk.0": "/sd/disk.0.snap/2"}), "")
    sources = [source.get("file") for source in root.iterfind("devices/disk/source")]
    assert sources == ["/sd/disk.0.snap/2", "/sd/disk.1", "/sd/disk.2", "/iso/other", None]
    assert with_layers(text, {}) is text
