"""The deployment file: what each attribute becomes, and that libvirt's own schema accepts every file."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from holdfast.drivers.vmm.deployment import deployment_file, domain_uuid
from holdfast.drivers.vmm.hypervisor import DEFAULTS, DeploymentError, HypervisorConfig
from holdfast.model.errors import HoldfastError
from holdfast.model.host import Host
from holdfast.model.storage import Datastore
from holdfast.model.template import Template
from holdfast.model.template_text import parse_text
from tests.unit.vmm.objects import BASIC, DISK, a_datastore, a_host, a_stay, a_vm

CONFIG = HypervisorConfig("/var/lib/one/datastores")
SCHEMA = etree.RelaxNG(etree.parse("/usr/share/libvirt/schemas/domain.rng"))
ONE = {"one": "http://opennebula.org/xmlns/libvirt/1.0"}


def domain(
    text: str = BASIC,
    host: Host | None = None,
    datastore: Datastore | None = None,
    config: HypervisorConfig = CONFIG,
) -> Any:
    """The domain element of a VM with this template, accepted by libvirt's schema."""
    written = deployment_file(a_vm(text=text), host or a_host(), datastore or a_datastore(), config)
    SCHEMA.assertValid(_without_reconnect(etree.fromstring(written)))
    return etree.fromstring(written)


def _without_reconnect(root: Any) -> Any:
    """libvirt 9.0 ignores the reconnect delay of an NBD disk, which later versions have; so its schema lacks it."""
    for element in root.findall("devices/disk/source/reconnect"):
        element.getparent().remove(element)
    return root


def test_a_minimal_vm_has_name_title_uuid_memory_and_machine() -> None:
    root = domain(f"{BASIC}\n{DISK}")
    assert root.get("type") == "qemu"
    assert root.findtext("name") == "one-7"
    assert root.findtext("title") == "vm7"
    assert root.findtext("uuid") == domain_uuid(a_vm())
    assert root.findtext("memory") == "65536"
    assert root.findtext("vcpu") == "1"
    assert root.findtext("cputune/shares") == "1024"
    assert dict(root.find("os/type").attrib) == {"arch": "x86_64", "machine": "pc"}
    assert root.find("features/acpi") is not None
    assert root.find("clock") is None
    assert root.find("devices/emulator") is None


def test_a_disk_is_a_file_in_the_vms_directory_with_the_default_driver_options() -> None:
    disk = domain(f"{BASIC}\n{DISK}").find("devices/disk")
    assert (disk.get("type"), disk.get("device")) == ("file", "disk")
    assert disk.find("source").get("file") == "/var/lib/one/datastores/0/7/disk.0"
    assert dict(disk.find("target").attrib) == {"dev": "vda", "bus": "virtio"}
    assert dict(disk.find("driver").attrib) == {"name": "qemu", "type": "qcow2", "cache": "none", "discard": "unmap"}


def test_every_disk_option_arrives() -> None:
    text = f"""{BASIC}
    DISK=[DISK_ID=0, TARGET=vda, DRIVER=raw, CACHE=writeback, IO=threads, DISCARD=ignore, SHAREABLE=YES, SERIAL=abc,
      VIRTIO_BLK_QUEUES=auto, TOTAL_IOPS_SEC=100, READ_BYTES_SEC=4096, READ_BYTES_SEC_MAX=8192]
    DISK=[DISK_ID=1, TARGET=sdb, READONLY=YES]
    DISK=[DISK_ID=2, TYPE=CDROM, TARGET=hda]
    DISK=[DISK_ID=3, TYPE=swap, TARGET=vdb]
    DISK=[DISK_ID=4, TYPE=fs, FORMAT=qcow2, TARGET=vdc]
    DISK=[DISK_ID=5, TYPE=BLOCK, TARGET=vdd]
    VCPU=3
    OS=[BOOT="disk2, nic0,disk0"]
    NIC=[NIC_ID=0]"""
    root = domain(text.replace('OS=[ARCH="x86_64", MACHINE="pc"]', ""))
    first, scsi, cdrom, swap, volatile, block = root.findall("devices/disk")
    assert dict(first.find("driver").attrib) == {
        "name": "qemu", "type": "raw", "cache": "writeback", "io": "threads", "discard": "ignore", "queues": "3",
    }  # fmt: skip
    assert first.find("shareable") is not None
    assert first.findtext("serial") == "abc"
    assert {limit.tag: limit.text for limit in first.find("iotune")} == {
        "total_iops_sec": "100", "read_bytes_sec": "4096", "read_bytes_sec_max": "8192",
    }  # fmt: skip
    assert [first.find("boot").get("order"), cdrom.find("boot").get("order")] == ["3", "1"]
    assert root.find("devices/interface/boot").get("order") == "2"
    assert scsi.find("target").get("bus") == "scsi"
    assert scsi.find("address").get("target") == "1"
    assert scsi.find("readonly") is not None
    assert (cdrom.get("device"), cdrom.find("target").get("bus"), cdrom.find("driver").get("type")) == (
        "cdrom", "sata", "raw",
    )  # fmt: skip
    assert cdrom.find("readonly") is not None
    assert swap.find("driver").get("type") == "raw"
    assert volatile.find("driver").get("type") == "qcow2"
    assert (block.get("type"), block.find("source").get("dev")) == ("block", "/var/lib/one/datastores/0/7/disk.5")


def test_with_an_nbd_server_file_disks_are_raw_exports_that_reconnect() -> None:
    datastore = a_datastore(text='NBD_SERVER="10.77.0.254:10809"')
    disks = domain(f"{BASIC}\n{DISK}\nDISK=[DISK_ID=1, TYPE=BLOCK, TARGET=vdb]", datastore=datastore).findall(
        "devices/disk"
    )
    source = disks[0].find("source")
    assert disks[0].get("type") == "network"
    assert (source.get("protocol"), source.get("name")) == ("nbd", "one-7-disk-0")
    assert dict(source.find("host").attrib) == {"name": "10.77.0.254", "port": "10809"}
    assert source.find("reconnect").get("delay") == "10"
    assert disks[0].find("driver").get("type") == "raw"
    assert disks[1].get("type") == "block"


@pytest.mark.parametrize("server", ["10.0.0.1", ":10809", "host:0", "host:port", "host:70000"])
def test_a_malformed_nbd_server_is_refused(server: str) -> None:
    with pytest.raises(HoldfastError, match="must be host:port"):
        domain(f"{BASIC}\n{DISK}", datastore=a_datastore(text=f'NBD_SERVER="{server}"'))


def test_kernel_initrd_and_command_line_start_a_guest_without_boot_loader() -> None:
    os_section = 'OS=[MACHINE=pc, KERNEL="/k", INITRD="/i", KERNEL_CMD="console=ttyS0 quiet", ROOT=vda1]'
    root = domain(f"MEMORY=64\n{os_section}")
    assert [root.findtext(f"os/{tag}") for tag in ("kernel", "initrd", "cmdline")] == [
        "/k", "/i", "root=/dev/vda1 console=ttyS0 quiet",
    ]  # fmt: skip


def test_a_registered_kernel_starts_from_its_copy_in_the_vms_directory() -> None:
    text = 'OS=[ARCH="x86_64", KERNEL_DS_SOURCE="/ds/2/kkk", INITRD_DS_SOURCE="/ds/2/iii", KERNEL_CMD="quiet"]'
    root = domain(f"CPU=1\nMEMORY=64\n{text}")
    assert [root.findtext(f"os/{tag}") for tag in ("kernel", "initrd", "cmdline")] == [
        "/var/lib/one/datastores/0/7/kernel",
        "/var/lib/one/datastores/0/7/initrd",
        "quiet",
    ]


def test_the_context_is_a_cdrom_behind_the_disks() -> None:
    root = domain(f'{BASIC}\n{DISK}\nCONTEXT=[DISK_ID="1", TARGET="hda", SET_HOSTNAME="web"]')
    disk = root.findall("devices/disk")[1]
    assert (disk.get("type"), disk.get("device"), disk.find("source").get("file")) == (
        "file",
        "cdrom",
        "/var/lib/one/datastores/0/7/disk.1",
    )
    assert (disk.find("target").get("dev"), disk.find("target").get("bus")) == ("hda", "ide")
    assert disk.find("driver").get("type") == "raw"
    assert disk.find("readonly") is not None


def test_a_q35_machine_has_root_ports_and_one_bridge() -> None:
    root = domain("MEMORY=64\nQ35_ROOT_PORTS=4")
    ports = [c.get("model") for c in root.findall("devices/controller[@type='pci']")]
    assert ports == ["pcie-root", *["pcie-root-port"] * 4, "pcie-to-pci-bridge"]
    assert domain(BASIC).find("devices/controller[@type='pci']") is None


def test_the_type_follows_the_host_then_the_configuration_then_the_vmm_driver() -> None:
    tcg = HypervisorConfig("/d", accelerator="tcg")
    kvm = HypervisorConfig("/d", accelerator="kvm")
    assert domain(host=a_host(vm_mad="kvm")).get("type") == "kvm"
    assert domain(host=a_host(vm_mad="qemu")).get("type") == "qemu"
    assert domain(host=a_host(vm_mad="kvm"), config=tcg).get("type") == "qemu"
    assert domain(host=a_host(vm_mad="qemu"), config=kvm).get("type") == "kvm"
    assert domain(host=a_host(text="HYPERVISOR_TYPE=qemu"), config=kvm).get("type") == "qemu"
    assert domain(host=a_host(text="TYPE=kvm"), config=tcg).get("type") == "kvm"
    with pytest.raises(DeploymentError, match="must be kvm or qemu"):
        domain(host=a_host(text="HYPERVISOR_TYPE=xen"))
    with pytest.raises(DeploymentError, match="must be auto, kvm or tcg"):
        HypervisorConfig("/d", accelerator="fast")


def test_attributes_are_looked_up_in_the_vm_then_the_host_then_the_configuration() -> None:
    config = dataclasses.replace(CONFIG, defaults=DEFAULTS.merged(parse_text('VCPU=2\nEMULATOR="/conf"')))
    host = a_host(text="VCPU=4")
    assert domain("MEMORY=64\nVCPU=8", host, config=config).findtext("vcpu") == "8"
    assert domain("MEMORY=64", host, config=config).findtext("vcpu") == "4"
    assert domain("MEMORY=64", config=config).findtext("vcpu") == "2"
    assert domain("MEMORY=64", config=config).findtext("devices/emulator") == "/conf"
    assert domain('MEMORY=64\nEMULATOR="/vm"', config=config).findtext("devices/emulator") == "/vm"


def test_an_interface_without_bridge_is_a_tap_or_in_a_session_qemus_own_network() -> None:
    session = a_host(text='LIBVIRT_URI="qemu+tcp://10.77.0.1/session"')
    bare, bridged = "MEMORY=64\nNIC=[NIC_ID=0]", "MEMORY=64\nNIC=[NIC_ID=0, BRIDGE=br0]"
    assert domain(bare).find("devices/interface").get("type") == "ethernet"
    assert domain(bridged, session).find("devices/interface").get("type") == "bridge"
    user = domain(bare, session).find("devices/interface")
    assert user.get("type") == "user"
    assert user.find("target") is None, "there is no device on the host"


def test_cpu_shares_depend_on_the_version_of_cgroups_and_are_left_out_in_a_session() -> None:
    assert domain("MEMORY=64\nCPU=0.5").findtext("cputune/shares") == "512"
    assert domain("MEMORY=64\nCPU=0.5", a_host(text="CGROUPS_VERSION=2")).findtext("cputune/shares") == "50"
    session = a_host(text='LIBVIRT_URI="qemu+tcp://10.77.0.1/session"')
    assert domain("MEMORY=64\nCPU=0.5", session).find("cputune") is None


def test_memory_grows_by_balloon_or_by_hotplug() -> None:
    balloon = domain("MEMORY=64\nMEMORY_MAX=128")
    assert (balloon.findtext("memory"), balloon.findtext("currentMemory")) == ("131072", "65536")
    hotplug = domain("MEMORY=64\nMEMORY_MAX=128\nMEMORY_RESIZE_MODE=HOTPLUG\nMEMORY_SLOTS=2\nVCPU=2\nVCPU_MAX=4")
    assert hotplug.find("maxMemory").get("slots") == "2"
    assert hotplug.findtext("memory") == "65536"
    assert hotplug.find("cpu/numa/cell").get("cpus") == "0-3"
    assert (hotplug.find("vcpu").get("current"), hotplug.findtext("vcpu")) == ("2", "4")


def test_a_cpu_model_is_exact_and_host_passthrough_needs_kvm() -> None:
    named = domain('MEMORY=64\nCPU_MODEL=[MODEL="Haswell", FEATURES="avx2, rdrand"]').find("cpu")
    assert (named.get("mode"), named.findtext("model"), named.find("model").get("fallback")) == (
        "custom", "Haswell", "forbid",
    )  # fmt: skip
    assert [feature.get("name") for feature in named.findall("feature")] == ["avx2", "rdrand"]
    passthrough = "MEMORY=64\nCPU_MODEL=[MODEL=host-passthrough]\nTOPOLOGY=[SOCKETS=1, CORES=2, THREADS=1]\nVCPU=2"
    assert domain(passthrough, a_host(vm_mad="kvm")).find("cpu").get("mode") == "host-passthrough"
    assert domain(passthrough, a_host(vm_mad="qemu")).find("cpu").get("mode") == "maximum"
    assert domain(passthrough).find("cpu/topology").get("cores") == "2"


def test_interfaces_name_their_bridge_and_keep_their_address_on_every_host() -> None:
    text = f"""{BASIC}
    VCPU=2
    NIC=[BRIDGE=br0, MAC="02:00:0a:00:00:01", IP="10.0.0.1", FILTER=clean-traffic, MODEL=virtio, VIRTIO_QUEUES=auto,
      INBOUND_AVG_BW=10, OUTBOUND_PEAK_BW=20, OUTBOUND_AVG_BW=5]
    NIC=[BRIDGE=ovs0, BRIDGE_TYPE=openvswitch, MODEL=e1000, NIC_ID=3]
    NIC=[NETWORK_MODE=dummy, NIC_ID=4]"""
    first, second, third = domain(text).findall("devices/interface")
    assert first.find("source").get("bridge") == "br0"
    assert first.find("mac").get("address") == "02:00:0a:00:00:01"
    assert first.find("target").get("dev") == "one-7-0"
    assert first.find("driver").get("queues") == "2"
    assert first.find("filterref/parameter").get("value") == "10.0.0.1"
    assert first.find("bandwidth/inbound").get("average") == "10"
    assert first.find("bandwidth/outbound").get("peak") == "20"
    assert second.find("virtualport").get("type") == "openvswitch"
    assert second.find("driver") is None
    assert second.find("mac").get("address") == "02:01:00:00:07:03"
    assert third.get("type") == "ethernet"


def test_graphics_video_and_input() -> None:
    root = domain(
        f"""{BASIC}
        GRAPHICS=[TYPE=VNC, LISTEN="0.0.0.0", PORT=5907, PASSWD="it's", KEYMAP=de]
        VIDEO=[TYPE=virtio, RESOLUTION=1280x720]
        INPUT=[TYPE=tablet, BUS=usb]"""
    )
    graphics = root.find("devices/graphics")
    assert (graphics.get("port"), graphics.get("listen"), graphics.get("passwd")) == ("5907", "0.0.0.0", "it's")
    assert root.find("devices/video/model/resolution").get("y") == "720"
    assert root.find("devices/input").get("bus") == "usb"
    free = domain(f"{BASIC}\nGRAPHICS=[TYPE=vnc]").find("devices/graphics")
    assert (free.get("port"), free.get("autoport")) == ("-1", "yes")
    assert domain(f"{BASIC}\nGRAPHICS=[TYPE=sdl]").find("devices/graphics") is None
    with pytest.raises(DeploymentError, match="RANDOM_PASSWD"):
        domain(f"{BASIC}\nGRAPHICS=[TYPE=vnc, RANDOM_PASSWD=YES]")


def test_features_clock_agent_and_iothreads() -> None:
    plain = domain(BASIC)
    assert plain.find("devices/channel/target").get("name") == "org.qemu.guest_agent.0"
    assert plain.find("devices/controller[@type='scsi']").get("model") == "virtio-scsi"
    text = "FEATURES=[ACPI=no, PAE=yes, APIC=yes, HYPERV=yes, LOCALTIME=yes, GUEST_AGENT=no, IOTHREADS=2]\nVCPU=4"
    root = domain(f"{BASIC}\n{text}")
    assert [feature.tag for feature in root.find("features")] == ["pae", "apic", "hyperv"]
    assert root.find("clock").get("offset") == "localtime"
    assert root.find("devices/channel") is None
    assert root.findtext("iothreads") == "2"
    assert root.find("devices/controller[@type='scsi']/driver").get("queues") == "4"


def test_uefi_keeps_its_variables_on_the_shared_datastore() -> None:
    chosen = domain("MEMORY=64\nOS=[FIRMWARE=UEFI]")
    assert chosen.find("os").get("firmware") == "efi"
    assert chosen.findtext("os/nvram") == "/var/lib/one/datastores/0/7/one-7_VARS.fd"
    given_path = domain('MEMORY=64\nOS=[FIRMWARE="/ovmf/CODE.fd", FIRMWARE_SECURE=YES]')
    assert given_path.find("os/loader").get("secure") == "yes"
    assert given_path.find("features/smm").get("state") == "on"
    with pytest.raises(DeploymentError, match="OS/FIRMWARE"):
        domain("MEMORY=64\nOS=[FIRMWARE=coreboot]")


def test_raw_of_vm_and_host_is_added_as_elements() -> None:
    raw = """RAW=[TYPE=kvm, DATA="<devices><serial type='null'/></devices><qemu:commandline><qemu:arg value='-nodefaults'/></qemu:commandline>"]"""  # noqa: E501
    written = deployment_file(
        a_vm(text=f"{BASIC}\n{raw}"),
        a_host(text="""RAW=[TYPE=qemu, DATA="<on_crash>preserve</on_crash>"]"""),
        a_datastore(),
        CONFIG,
    )
    root = etree.fromstring(written)
    assert root.find("devices/serial").get("type") == "null"
    assert root.find("{http://libvirt.org/schemas/domain/qemu/1.0}commandline")[0].get("value") == "-nodefaults"
    assert root.findtext("on_crash") == "preserve"


@pytest.mark.parametrize("data", ["<a>", "</domain><domain>", "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>"])
def test_raw_that_is_no_xml_fragment_is_refused(data: str) -> None:
    vm = dataclasses.replace(a_vm(), template=parse_text(BASIC).extended([("RAW", {"TYPE": "kvm", "DATA": data})]))
    with pytest.raises(DeploymentError, match="RAW/DATA of VM 7 is not well-formed"):
        deployment_file(vm, a_host(), a_datastore(), CONFIG)


def test_metadata_tells_probes_the_directory_and_the_owner() -> None:
    metadata = domain().find("metadata/one:vm", ONE)
    assert metadata.findtext("one:system_datastore", namespaces=ONE) == "/var/lib/one/datastores/0/7"
    assert metadata.findtext("one:name", namespaces=ONE) == "vm7"
    assert metadata.findtext("one:stime", namespaces=ONE) == "990"
    assert metadata.findtext("one:deployment_time", namespaces=ONE) == "1000"


def test_the_uuid_is_the_templates_or_one_that_never_changes() -> None:
    stated = "6f4d1f9e-0000-4000-8000-00000000000a"
    assert domain_uuid(a_vm(text=f'OS=[UUID="{stated}"]')) == stated
    assert domain_uuid(a_vm()) == domain_uuid(a_vm(history=(a_stay(1), a_stay(2, 1))))
    assert domain_uuid(a_vm(7)) != domain_uuid(a_vm(8))
    with pytest.raises(DeploymentError, match="must be a UUID"):
        domain_uuid(a_vm(text="OS=[UUID=abc]"))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("CPU=1", "MEMORY"),
        ("MEMORY=64\nDISK=[DISK_ID=0]", "TARGET"),
        ("MEMORY=64\nDISK=[TARGET=vda]", "DISK_ID"),
        ("MEMORY=64\nDISK=[DISK_ID=0, TARGET=vda, TYPE=RBD]", "RBD"),
        ("MEMORY=64\nPCI=[CLASS=0302]", "PCI"),
        ("MEMORY=64\nVCPU=two", "VCPU"),
        ("MEMORY=64\nVCPU=0", "VCPU"),
        ("MEMORY=64\nOS=[BOOT=floppy]", "OS/BOOT"),
        ("MEMORY=64\nQ35_ROOT_PORTS=many", "Q35_ROOT_PORTS"),
        ("MEMORY=64\nNIC=[BRIDGE=b, BRIDGE_TYPE=openvswitch_dpdk]", "BRIDGE_TYPE"),
        ("MEMORY=lots", "MEMORY"),
    ],
)
def test_what_cannot_be_honoured_is_named(text: str, named: str) -> None:
    with pytest.raises(HoldfastError, match=named):
        domain(text)


def test_a_vm_without_history_has_no_deployment_file() -> None:
    with pytest.raises(DeploymentError, match="not been placed"):
        deployment_file(dataclasses.replace(a_vm(), history=()), a_host(), a_datastore(), CONFIG)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_no_value_can_add_or_break_an_element(value: str) -> None:
    vm = dataclasses.replace(
        a_vm(text=f"{BASIC}\n{DISK}"),
        name=value,
    )
    template = Template([*vm.template.pairs, ("GRAPHICS", {"TYPE": "vnc", "PASSWD": value}), ("EMULATOR", value)])
    vm = dataclasses.replace(vm, template=template)
    if not all(character in "\t\n\r" or " " <= character <= "\ufffd" or character > "\uffff" for character in value):
        with pytest.raises(DeploymentError, match="control character"):
            deployment_file(vm, a_host(), a_datastore(), CONFIG)
        return
    root = etree.fromstring(deployment_file(vm, a_host(), a_datastore(), CONFIG))
    assert root.find("devices/graphics").get("passwd", "") == value
    assert root.findtext("metadata/one:vm/one:name", namespaces=ONE) == value
    assert [element.tag for element in root] == [
        "name", *(["title"] if value else []), "uuid", "vcpu", "cputune", "memory", "os", "devices", "features",
        "metadata",
    ]  # fmt: skip
