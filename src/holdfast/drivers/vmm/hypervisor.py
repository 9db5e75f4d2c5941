"""What is configured about hypervisors, and what follows from it for one host.

OpenNebula's lookup order holds: VM template, then host template, then the defaults (its vmm_exec_kvm.conf).  Whether a
host has KVM is never probed: a /dev/kvm that opens, or ``-accel kvm:tcg``, may still pick an accelerator on which
guests hang.  It is said by the host (``HYPERVISOR_TYPE`` or ``TYPE``), by the configuration, or by VM_MAD.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from holdfast.model.errors import HoldfastError
from holdfast.model.host import Host
from holdfast.model.template import Template

DEFAULTS = Template(
    [
        ("OS", {"ARCH": "x86_64", "MACHINE": "q35", "SD_DISK_BUS": "scsi"}),
        ("FEATURES", {"ACPI": "YES", "PAE": "NO", "APIC": "NO", "HYPERV": "NO", "GUEST_AGENT": "YES"}),
        ("DISK", {"DRIVER": "raw", "CACHE": "none", "DISCARD": "unmap"}),
        ("NIC", {"MODEL": "virtio"}),
        ("Q35_ROOT_PORTS", "16"),
    ]
)
"""What OpenNebula ships, without EMULATOR: libvirt then takes the QEMU of the host's architecture."""

_ACCELERATORS = {"kvm": "kvm", "tcg": "qemu"}


class DeploymentError(HoldfastError):
    """The VM asks for something that cannot be written into a deployment file."""


@dataclass(frozen=True, slots=True)
class HypervisorConfig:
    """``datastore_location`` as the hosts see it; ``accelerator`` auto, kvm or tcg; ``defaults`` of VM attributes."""

    datastore_location: str
    accelerator: str = "auto"
    emulator: str = ""
    defaults: Template = field(default=DEFAULTS)

    def __post_init__(self) -> None:
        if self.accelerator not in ("auto", *_ACCELERATORS):
            raise DeploymentError(f'accelerator is "{self.accelerator}", it must be auto, kvm or tcg.')


@dataclass(frozen=True, slots=True)
class Attributes:
    """An attribute as OpenNebula looks it up for one VM on one host."""

    vm: Template
    host: Template
    defaults: Template

    def single(self, name: str) -> str:
        """A single value: VM, host, defaults."""
        return self.vm.get(name) or self.of_host(name)

    def inner(self, section: str, name: str) -> str:
        """A value inside a vector attribute: VM, host, defaults."""
        return self.vm.section(section).get(name) or self.of_host(name, section)

    def of_host(self, name: str, section: str = "") -> str:
        """A value that the VM's owner cannot choose: host, defaults."""
        for template in (self.host, self.defaults):
            value = template.section(section).get(name, "") if section else template.get(name)
            if value:
                return value
        return ""


def libvirt_uri(host: Host) -> str:
    """How to reach the host's libvirt: its LIBVIRT_URI, else through ssh (keys as ssh is configured to find them)."""
    return host.template.get("LIBVIRT_URI") or f"qemu+ssh://{host.name}/system?no_tty=1"


def is_session(host: Host) -> bool:
    """The libvirt of an ordinary user: it has no cgroups and refuses every setting that needs one."""
    return urlsplit(libvirt_uri(host)).path == "/session"


def domain_type(host: Host, config: HypervisorConfig) -> str:
    """``kvm``, ``qemu``, or ``test`` for libvirt's own mock driver."""
    if urlsplit(libvirt_uri(host)).scheme.split("+")[0] == "test":
        return "test"
    said = (host.template.get("HYPERVISOR_TYPE") or host.template.get("TYPE")).lower()
    if said:
        if said not in ("kvm", "qemu"):
            raise DeploymentError(f'HYPERVISOR_TYPE of host {host.name} is "{said}", it must be kvm or qemu.')
        return said
    if config.accelerator != "auto":
        return _ACCELERATORS[config.accelerator]
    return "kvm" if host.vm_mad == "kvm" else "qemu"
