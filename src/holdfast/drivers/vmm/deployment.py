"""The deployment file: the libvirt domain XML of one VM on one host.  A pure function of what it is given.

Same contents as OpenNebula's (transient domain ``one-<id>``, disks in the system datastore, metadata for probes), with
these differences: values are really escaped; the UUID is stable for the VM's life even when the template has none;
interfaces without MAC get a stable one; UEFI variables live on the system datastore, so that they survive a failover;
host-passthrough becomes ``maximum`` without KVM; the libvirt of an ordinary user gets no CPU shares (no
cgroups), and QEMU's own network for interfaces without a bridge.
"""

from __future__ import annotations

import math
import uuid

from lxml import etree

from holdfast.drivers.nbd import NbdServer
from holdfast.drivers.tm.lines import KERNELS
from holdfast.drivers.vmm import devices as device
from holdfast.drivers.vmm.disks import DiskWriter
from holdfast.drivers.vmm.elements import QEMU_NAMESPACE, Element, child, fragment, on_off
from holdfast.drivers.vmm.hypervisor import Attributes, DeploymentError, HypervisorConfig, domain_type, is_session
from holdfast.model.host import Host
from holdfast.model.storage import Datastore
from holdfast.model.template import Template
from holdfast.model.vm import History, Vm

ONE_NAMESPACE = "http://opennebula.org/xmlns/libvirt/1.0"
_UUIDS = uuid.UUID("5c1c6f9e-3d0b-4d2a-9b4e-686f6c646661")
_REFUSED = ("PCI", "TPM", "MEMORY_ENCRYPTION")
_HYPERV = {"relaxed": {}, "vapic": {}, "spinlocks": {"retries": "4096"}}


def domain_name(vm_id: int) -> str:
    """The name of the VM's domain, the same on every host."""
    return f"one-{vm_id}"


def domain_uuid(vm: Vm) -> str:
    """The UUID of the VM's domain, for life: OS/UUID, else one derived from the VM's id and birth."""
    stated = vm.template.section("OS").get("UUID", "")
    if not stated:
        return str(uuid.uuid5(_UUIDS, f"{vm.oid}/{vm.stime}"))
    try:
        return str(uuid.UUID(stated))
    except ValueError:
        raise DeploymentError(f'OS/UUID of VM {vm.oid} is "{stated}", it must be a UUID.') from None


def vm_directory(location: str, ds_id: int, vm_id: int) -> str:
    """SD: the VM's directory on the system datastore, as the hosts see it."""
    return f"{location.rstrip('/')}/{ds_id}/{vm_id}"


def cpu_shares(cpu: float, attributes: Attributes) -> int:
    """The weight of a VM with this CPU among the VMs of its host."""
    unit, bottom, top = (100, 1, 10000) if attributes.of_host("CGROUPS_VERSION") == "2" else (1024, 2, 262144)
    return min(max(math.ceil(cpu * unit), bottom), top)


def deployment_file(vm: Vm, host: Host, datastore: Datastore, config: HypervisorConfig) -> str:
    """The domain XML; raises DeploymentError or TemplateError naming the attribute that cannot be honoured."""
    record = vm.current
    if record is None:
        raise DeploymentError(f"VM {vm.oid} has not been placed on a host yet.")
    for name in _REFUSED:
        if name in vm.template:
            raise DeploymentError(f"VM {vm.oid} asks for {name}, which Holdfast cannot provide; remove the attribute.")
    return _Domain(vm, record, host, datastore, config).text()


class _Domain:
    def __init__(self, vm: Vm, record: History, host: Host, datastore: Datastore, config: HypervisorConfig) -> None:
        self.vm, self.record, self.host, self.datastore, self.config = vm, record, host, datastore, config
        self.type = domain_type(host, config)
        self.attributes = Attributes(vm.template, host.template, config.defaults)
        self.directory = vm_directory(config.datastore_location, record.ds_id, vm.oid)
        self.machine = self.attributes.inner("OS", "MACHINE")
        self.pcie = "q35" in self.machine or "virt" in self.machine
        self.vcpus = self._count("VCPU") or "1"
        self.most_vcpus = self._count("VCPU_MAX")
        self.root = etree.Element("domain", type=self.type, nsmap={"qemu": QEMU_NAMESPACE})

    def text(self) -> str:
        """The whole document."""
        child(self.root, "name", domain_name(self.vm.oid))
        if self.vm.name:
            child(self.root, "title", self.vm.name.replace("\n", " "))
        child(self.root, "uuid", domain_uuid(self.vm))
        self._vcpu()
        self._memory()
        self._os()
        self._cpu()
        if iothreads := self.attributes.inner("FEATURES", "IOTHREADS").lstrip("0"):
            child(self.root, "iothreads", iothreads)
        self._devices()
        self._features()
        self._clock()
        self._raw()
        self._metadata()
        etree.indent(self.root, space="  ")
        return f"{etree.tostring(self.root, encoding='unicode')}\n"

    def _count(self, name: str) -> str:
        value = self.attributes.single(name)
        if value and not (value.isdecimal() and int(value)):
            raise DeploymentError(f'{name} of VM {self.vm.oid} is "{value}", it must be a whole number above 0.')
        return value

    def _vcpu(self) -> None:
        child(self.root, "vcpu", self.most_vcpus or self.vcpus, current=self.vcpus if self.most_vcpus else "")
        if is_session(self.host):
            return
        shares = cpu_shares(self.vm.template.get_float("CPU", 1), self.attributes)
        child(child(self.root, "cputune"), "shares", str(shares))

    def _memory(self) -> None:
        memory_kb = self.vm.memory_kb
        if memory_kb <= 0:
            raise DeploymentError(f"VM {self.vm.oid} has no MEMORY; set MEMORY to its size in MB.")
        most_kb = self.vm.template.get_int("MEMORY_MAX", 0) * 1024
        if most_kb <= memory_kb:
            child(self.root, "memory", str(memory_kb))
        elif self._hotplug:
            child(self.root, "maxMemory", str(most_kb), slots=self.vm.template.get("MEMORY_SLOTS") or "8")
            child(self.root, "memory", str(memory_kb))
        else:
            child(self.root, "memory", str(most_kb))
            child(self.root, "currentMemory", str(memory_kb))

    @property
    def _hotplug(self) -> bool:
        """Memory is added as DIMMs, not by the balloon."""
        grows = self.vm.template.get_int("MEMORY_MAX", 0) * 1024 > self.vm.memory_kb
        return grows and self.attributes.single("MEMORY_RESIZE_MODE").upper() == "HOTPLUG"

    def _os(self) -> None:
        section = self.vm.template.section("OS")
        firmware = self.attributes.inner("OS", "FIRMWARE")
        element = child(self.root, "os", firmware="efi" if firmware.upper() == "UEFI" else "")
        child(element, "type", "hvm", arch=self.attributes.inner("OS", "ARCH"), machine=self.machine)
        self._firmware(element, firmware)
        kernel = self._booted("KERNEL_DS") or self.attributes.inner("OS", "KERNEL")
        if kernel:
            root_device = f"root=/dev/{section['ROOT']} " if section.get("ROOT") else ""
            child(element, "kernel", kernel)
            for tag, text in (
                ("initrd", self._booted("INITRD_DS") or self.attributes.inner("OS", "INITRD")),
                ("cmdline", root_device + self.attributes.inner("OS", "KERNEL_CMD")),
            ):
                if text:
                    child(element, tag, text)

    def _booted(self, attribute: str) -> str:
        """The copy of a registered kernel or initrd in the VM's directory."""
        registered = self.vm.template.section("OS").get(f"{attribute}_SOURCE")
        return f"{self.directory}/{KERNELS[attribute]}" if registered else ""

    def _firmware(self, element: Element, firmware: str) -> None:
        if firmware.upper() in ("", "BIOS"):
            return
        secure = "yes" if on_off(self.attributes.inner("OS", "FIRMWARE_SECURE")) else "no"
        if firmware.upper() == "UEFI":
            child(child(element, "firmware"), "feature", enabled=secure, name="secure-boot")
        elif firmware.startswith("/"):
            child(element, "loader", firmware, readonly="yes", type="pflash", secure=secure)
        else:
            raise DeploymentError(
                f'OS/FIRMWARE is "{firmware}", it must be BIOS, UEFI or the path of a firmware image.'
            )
        child(element, "nvram", f"{self.directory}/{domain_name(self.vm.oid)}_VARS.fd")

    def _cpu(self) -> None:
        model = self.attributes.inner("CPU_MODEL", "MODEL")
        topology = self.vm.template.section("TOPOLOGY")
        parts = {name.lower(): topology[name] for name in ("SOCKETS", "CORES", "THREADS") if topology.get(name)}
        if not model and not self._hotplug and len(parts) < 3:
            return
        cpu = child(self.root, "cpu")
        if model in ("host-passthrough", "host-model", "maximum"):
            cpu.set("mode", "maximum" if model == "host-passthrough" and self.type == "qemu" else model)
        elif model:
            cpu.set("mode", "custom")
            child(cpu, "model", model, fallback="forbid")
        if len(parts) == 3:
            child(cpu, "topology", **parts)
        for feature in filter(None, self.attributes.inner("CPU_MODEL", "FEATURES").replace(" ", "").split(",")):
            child(cpu, "feature", policy="require", name=feature)
        if self._hotplug:
            last = int(self.most_vcpus or self.vcpus) - 1
            cell = {"id": "0", "cpus": f"0-{last}" if last else "0", "memory": str(self.vm.memory_kb), "unit": "KiB"}
            child(child(cpu, "numa"), "cell", **cell)

    def _devices(self) -> None:
        devices = child(self.root, "devices")
        emulator = self.attributes.single("EMULATOR") or self.config.emulator
        if emulator:
            child(devices, "emulator", emulator)
        nbd = NbdServer.parse(self.datastore.template.get("NBD_SERVER"))
        disk_order, nic_order = boot_order(self.vm.template)
        DiskWriter(self.vm.oid, self.directory, self.attributes, nbd, self.pcie, self.vcpus, disk_order).write(devices)
        device.write_scsi_controller(devices, self.attributes, self.vcpus)
        device.write_nics(devices, self.vm.oid, self.attributes, self.vcpus, nic_order, is_session(self.host))
        device.write_graphics(devices, self.attributes)
        device.write_video_and_input(devices, self.attributes)
        if self.pcie:
            device.write_pcie(devices, self.attributes)
        if on_off(self.attributes.inner("FEATURES", "GUEST_AGENT")):
            device.write_guest_agent(devices)

    def _features(self) -> None:
        features = etree.Element("features")
        for name in ("PAE", "ACPI", "APIC"):
            if on_off(self.attributes.inner("FEATURES", name)):
                child(features, name.lower())
        if self._hyperv:
            hyperv = child(features, "hyperv")
            for tag, values in _HYPERV.items():
                child(hyperv, tag, state="on", **values)
        if on_off(self.attributes.inner("OS", "FIRMWARE_SECURE")):
            child(features, "smm", state="on")
        if len(features):
            self.root.append(features)

    @property
    def _hyperv(self) -> bool:
        return on_off(self.attributes.inner("FEATURES", "HYPERV"))

    def _clock(self) -> None:
        local = on_off(self.attributes.inner("FEATURES", "LOCALTIME"))
        if not local and not self._hyperv:
            return
        clock = child(self.root, "clock", offset="localtime" if local else "utc")
        if self._hyperv:
            child(clock, "timer", name="hypervclock", present="yes")
            child(clock, "timer", name="rtc", tickpolicy="catchup")
            child(clock, "timer", name="pit", tickpolicy="delay")
            child(clock, "timer", name="hpet", present="no")

    def _raw(self) -> None:
        """RAW of the VM, then of the host: the way to whatever has no attribute of its own."""
        for owner, template in (
            (f"VM {self.vm.oid}", self.vm.template),
            (f"host {self.host.name}", self.host.template),
        ):
            for raw in template.sections("RAW"):
                if raw.get("TYPE", "").lower() in ("kvm", "qemu"):
                    for element in fragment(raw.get("DATA", ""), f"RAW/DATA of {owner}"):
                        self.root.append(element)

    def _metadata(self) -> None:
        metadata = child(self.root, "metadata")
        one = etree.SubElement(metadata, f"{{{ONE_NAMESPACE}}}vm", nsmap={"one": ONE_NAMESPACE})
        for name, text in (
            ("system_datastore", self.directory),
            ("name", self.vm.name),
            ("uid", str(self.vm.uid)),
            ("gid", str(self.vm.gid)),
            ("stime", str(self.vm.stime)),
            ("deployment_time", str(self.record.stime)),
        ):
            child(one, f"{{{ONE_NAMESPACE}}}{name}", text)


def boot_order(template: Template) -> tuple[dict[str, int], dict[str, int]]:
    """OS/BOOT (``disk0,nic0``) as the boot positions of disks and of interfaces, by their ids."""
    disks: dict[str, int] = {}
    nics: dict[str, int] = {}
    for position, entry in enumerate(
        filter(None, template.section("OS").get("BOOT", "").replace(" ", "").split(",")), 1
    ):
        for prefix, orders in (("disk", disks), ("nic", nics)):
            if entry.startswith(prefix) and entry[len(prefix) :].isdecimal():
                orders[entry[len(prefix) :]] = position
                break
        else:
            raise DeploymentError(f'OS/BOOT holds "{entry}"; it is a list such as disk0,nic0.')
    return disks, nics
