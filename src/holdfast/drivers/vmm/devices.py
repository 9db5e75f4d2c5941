"""The devices of a deployment file that are not disks: network, graphics, video, input, controllers, guest agent."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.drivers.vmm.elements import Element, child, on_off
from holdfast.drivers.vmm.hypervisor import Attributes, DeploymentError
from holdfast.model.template import Section

_GRAPHICS = ("vnc", "spice")


def write_scsi_controller(devices: Element, attributes: Attributes, vcpus: str) -> None:
    """The virtio-scsi controller that every VM has, so that disks can be attached later."""
    queues = attributes.inner("FEATURES", "VIRTIO_SCSI_QUEUES")
    controller = child(devices, "controller", type="scsi", index="0", model="virtio-scsi")
    child(controller, "driver", queues=vcpus if queues.lower() in ("", "auto") else queues)


def write_nics(
    devices: Element,
    vm_id: int,
    attributes: Attributes,
    vcpus: str,
    boot_order: Mapping[str, int],
    session: bool = False,
) -> None:
    """One interface for each NIC; without a bridge, an ordinary user's libvirt (``session``) has QEMU's own network."""
    for number, nic in enumerate(attributes.vm.sections("NIC")):
        nic_id = nic.get("NIC_ID") or str(number)
        kind = _nic_type(nic)
        element = child(devices, "interface", type="user" if session and kind == "ethernet" else kind)
        _nic_source(element, nic)
        child(element, "mac", address=nic.get("MAC") or stable_mac(vm_id, nic_id))
        if element.get("type") != "user":
            child(element, "target", dev=nic.get("TARGET") or f"one-{vm_id}-{nic_id}")
        if nic_id in boot_order:
            child(element, "boot", order=str(boot_order[nic_id]))
        _nic_model(element, nic, attributes, vcpus)
        _nic_filter(element, nic, attributes)
        _nic_bandwidth(element, nic)


def _nic_type(nic: Section) -> str:
    if not nic.get("BRIDGE") or nic.get("NETWORK_MODE", "").lower() == "dummy":
        return "ethernet"
    if nic.get("BRIDGE_TYPE", "").lower() == "openvswitch_dpdk":
        raise DeploymentError("A NIC has BRIDGE_TYPE openvswitch_dpdk; supported are linux bridges and openvswitch.")
    return "bridge"


def _nic_source(element: Element, nic: Section) -> None:
    if element.get("type") == "bridge":
        child(element, "source", bridge=nic["BRIDGE"])
        if nic.get("BRIDGE_TYPE", "").lower() == "openvswitch":
            child(element, "virtualport", type="openvswitch")


def stable_mac(vm_id: int, nic_id: str) -> str:
    """An address that stays the same on every host: a guest must not find a new card after a failover."""
    number = int(nic_id) if nic_id.isdecimal() else 0
    octets = (0x02, 0x01, *((vm_id & 0xFFFFFF).to_bytes(3, "big")), number & 0xFF)
    return ":".join(f"{octet:02x}" for octet in octets)


def _nic_model(element: Element, nic: Section, attributes: Attributes, vcpus: str) -> None:
    model = nic.get("MODEL") or attributes.of_host("MODEL", "NIC")
    child(element, "model", type=model)
    if model == "virtio" and element.get("type") == "bridge":
        queues = nic.get("VIRTIO_QUEUES") or attributes.inner("FEATURES", "VIRTIO_QUEUES")
        child(element, "driver", name="vhost", queues=vcpus if queues.lower() == "auto" else queues)


def _nic_filter(element: Element, nic: Section, attributes: Attributes) -> None:
    name = nic.get("FILTER") or attributes.of_host("FILTER", "NIC")
    if name and nic.get("IP"):
        reference = child(element, "filterref", filter=name)
        child(reference, "parameter", name="IP", value=nic["IP"])


def _nic_bandwidth(element: Element, nic: Section) -> None:
    limits = {
        way: {
            "average": nic.get(f"{way.upper()}_AVG_BW", ""),
            "peak": nic.get(f"{way.upper()}_PEAK_BW", ""),
            "burst": nic.get(f"{way.upper()}_PEAK_KB", ""),
        }
        for way in ("inbound", "outbound")
    }
    if any(value for limit in limits.values() for value in limit.values()):
        bandwidth = child(element, "bandwidth")
        for way, limit in limits.items():
            if any(limit.values()):
                child(bandwidth, way, **limit)


def write_graphics(devices: Element, attributes: Attributes) -> None:
    """VNC or SPICE.  Without PORT libvirt picks a free one: a taken port must never keep a VM from starting."""
    graphics = attributes.vm.section("GRAPHICS")
    kind = graphics.get("TYPE", "").lower()
    if kind not in _GRAPHICS:
        return
    if on_off(graphics.get("RANDOM_PASSWD", "")) and not graphics.get("PASSWD"):
        raise DeploymentError("GRAPHICS has RANDOM_PASSWD=YES but no PASSWD; set PASSWD, or drop RANDOM_PASSWD.")
    port = graphics.get("PORT", "")
    child(
        devices,
        "graphics",
        type=kind,
        port=port or "-1",
        autoport="no" if port else "yes",
        listen=graphics.get("LISTEN", ""),
        passwd=graphics.get("PASSWD", ""),
        keymap=graphics.get("KEYMAP", ""),
    )


def write_video_and_input(devices: Element, attributes: Attributes) -> None:
    """VIDEO and INPUT."""
    video = attributes.vm.section("VIDEO") or attributes.host.section("VIDEO") or attributes.defaults.section("VIDEO")
    if video.get("TYPE") and video["TYPE"].lower() != "auto":
        element = child(devices, "video")
        _video_driver(element, video)
        model = child(element, "model", type=video["TYPE"], vram=video.get("VRAM", ""))
        width, _, height = video.get("RESOLUTION", "").partition("x")
        if width and height:
            child(model, "resolution", x=width, y=height)
    for source in attributes.vm.sections("INPUT"):
        child(devices, "input", type=source.get("TYPE", "tablet"), bus=source.get("BUS", ""))


def _video_driver(element: Element, video: Section) -> None:
    values = {name.lower(): "on" for name in ("IOMMU", "ATS") if on_off(video.get(name, ""))}
    if values:
        child(element, "driver", **values)


def write_pcie(devices: Element, attributes: Attributes) -> None:
    """Root ports, so that devices can be attached later, and one bridge for conventional PCI cards."""
    stated = attributes.single("Q35_ROOT_PORTS") or "16"
    if not stated.isdecimal():
        raise DeploymentError(f'Q35_ROOT_PORTS is "{stated}", it must be a whole number.')
    ports = int(stated)
    child(devices, "controller", index="0", type="pci", model="pcie-root")
    for index in range(1, ports + 1):
        child(devices, "controller", index=str(index), type="pci", model="pcie-root-port")
    child(devices, "controller", index=str(ports + 1), type="pci", model="pcie-to-pci-bridge")


def write_guest_agent(devices: Element) -> None:
    """The channel of the guest agent, which makes shutdowns clean."""
    channel = child(devices, "channel", type="unix")
    child(channel, "source", mode="bind")
    child(channel, "target", type="virtio", name="org.qemu.guest_agent.0")
