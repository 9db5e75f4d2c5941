"""The commands of ``onevm`` that change what a VM is made of: disks, NICs, CPU and memory.

A device is described by a template (``--file`` or standard input) or by options, never by a mixture.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

from holdfast.cli import actions
from holdfast.cli.errors import UsageError
from holdfast.cli.grammar import Call, Command
from holdfast.cli.lookup import find_id, is_id
from holdfast.cli.options import Option, Values
from holdfast.cli.template_input import new_template
from holdfast.cli.units import size_mb
from holdfast.cli.vm_actions import ENFORCE
from holdfast.model.template import Template
from holdfast.model.template_text import write_text

_FILE = Option("file", "f", "FILE", "template of it (- is standard input)")
_EMPTY_OPTIONS = (
    Option("size", argument="SIZE", description="size of an empty disk, such as 512m or 8g; it lives with the VM"),
    Option("type", argument="TYPE", description="of an empty disk: fs (the default) or swap"),
    Option("format", argument="FORMAT", description="of an empty disk: raw or qcow2"),
)
_DISK_OPTIONS = (
    Option("image", "i", "IMAGE", "image to attach, by id or name"),
    *_EMPTY_OPTIONS,
    Option("target", "t", "TARGET", "device name in the guest, such as vdb"),
    Option("prefix", argument="PREFIX", description="its beginning, such as sd, vd or hd, if the rest is free"),
    Option("cache", argument="MODE", description="default, none, writethrough, writeback, directsync or unsafe"),
    Option("discard", argument="MODE", description="ignore or unmap"),
)
_NIC_OPTIONS = (
    Option("network", "n", "NETWORK", "virtual network, by id or name"),
    Option("bridge", argument="BRIDGE", description="bridge of the hosts, where no virtual network names it"),
    Option("ip", "i", "IP", "address of the NIC"),
    Option("mac", argument="MAC", description="hardware address; by default one that no other VM has"),
    Option("model", argument="MODEL", description="kind of card, such as virtio or e1000"),
    Option("nic_name", argument="NAME", description="name of the NIC"),
)
_SIZE_OPTIONS = (
    Option("cpu", argument="CPU", description="CPU to reserve, 1 = one core, such as 0.5"),
    Option("vcpu", argument="N", description="cores that the guest sees"),
    Option("memory", argument="SIZE", description="memory, such as 512, 512m or 8g"),
)
_CHOICES = {
    "type": ("fs", "swap"),
    "format": ("raw", "qcow2"),
    "cache": ("default", "none", "writethrough", "writeback", "directsync", "unsafe"),
    "discard": ("ignore", "unmap"),
}
_MAC = re.compile("[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")


def device_number(text: str, kind: str) -> int:
    """The id of a disk or NIC, which have no names."""
    if not is_id(text):
        raise UsageError(f"A {kind} is named by its number, not '{text}'; 'onevm show' lists them.")
    return int(text)


def _attach_disk(call: Call) -> int:
    file = call.values.text("file")
    made = _disk_template(call) if file is None else ""
    text = new_template(call, file, _DISK_OPTIONS, made)
    return actions.for_one(call, "VM", "Attaching disk", lambda vm: call.client.identifier("one.vm.attach", vm, text))


def _disk_template(call: Call) -> str:
    values = call.values
    _check_disk_options(values)
    image, size = values.text("image"), values.text("size")
    disk: dict[str, str | None] = {}
    if size is not None:
        disk = {"TYPE": values.text("type") or "fs", "SIZE": str(size_mb(size, "--size"))}
        disk["FORMAT"] = values.text("format")
    if image is not None:
        disk["IMAGE_ID"] = str(find_id(call.client, "IMAGE", image))
    disk |= {"TARGET": values.text("target"), "DEV_PREFIX": values.text("prefix")}
    disk |= {"CACHE": values.text("cache"), "DISCARD": values.text("discard")}
    return _vector("DISK", disk)


def _check_disk_options(values: Values) -> None:
    for name, choices in _CHOICES.items():
        if (given := values.text(name)) is not None and given not in choices:
            raise UsageError(f"--{name} must be {', '.join(choices[:-1])} or {choices[-1]}, it is '{given}'.")
    empty = _used(values, _EMPTY_OPTIONS)
    if empty and values.switch("image"):
        raise UsageError(f"{empty[0]} describes an empty disk and --image one with content: give one of them.")
    used = _used(values, _DISK_OPTIONS)
    if used and not values.switch("image") and not values.switch("size"):
        raise UsageError(f"No disk is made of {' and '.join(used)}: add --image, or --size for an empty one.")
    target, prefix = values.text("target"), values.text("prefix")
    if target and prefix and not target.startswith(prefix):
        raise UsageError(f"--target {target} does not begin with --prefix {prefix}: give one of them.")


def _used(values: Values, options: Iterable[Option]) -> list[str]:
    return [f"--{option.long}" for option in options if values.switch(option.long)]


def _vector(name: str, attributes: Mapping[str, str | None]) -> str:
    return write_text(Template([(name, {key: value for key, value in attributes.items() if value is not None})]))


def _detach_disk(call: Call) -> int:
    disk_id = device_number(call.arguments[1], "disk")
    return actions.for_one(
        call, "VM", "Detaching disk", lambda vm: call.client.identifier("one.vm.detach", vm, disk_id)
    )


def _resize_disk(call: Call) -> int:
    disk_id, size = device_number(call.arguments[1], "disk"), str(size_mb(call.arguments[2], "<size>"))
    return actions.for_one(
        call, "VM", "resizing disk", lambda vm: call.client.identifier("one.vm.diskresize", vm, disk_id, size)
    )


def _attach_nic(call: Call) -> int:
    file = call.values.text("file")
    made = _nic_template(call.values) if file is None else ""
    text = new_template(call, file, _NIC_OPTIONS, made)
    return actions.for_one(call, "VM", "Attaching NIC", lambda vm: call.client.identifier("one.vm.attachnic", vm, text))


def _nic_template(values: Values) -> str:
    network, ip, mac = values.text("network"), values.text("ip"), values.text("mac")
    used = _used(values, _NIC_OPTIONS)
    if used and network is None and not values.switch("bridge"):
        raise UsageError(f"A NIC with {' and '.join(used)} leads nowhere: add --network or --bridge.")
    if ip is not None and not _is_address(ip):
        raise UsageError(f"--ip must be an address such as 192.0.2.10, it is '{ip}'.")
    if mac is not None and not _MAC.fullmatch(mac):
        raise UsageError(f"--mac must be an address such as 02:00:c0:00:02:0a, it is '{mac}'.")
    nic = {"NETWORK_ID" if network is not None and is_id(network) else "NETWORK": network}
    nic |= {"BRIDGE": values.text("bridge"), "IP": ip, "MAC": mac}
    return _vector("NIC", nic | {"MODEL": values.text("model"), "NAME": values.text("nic_name")})


def _is_address(text: str) -> bool:
    from ipaddress import ip_address

    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _detach_nic(call: Call) -> int:
    nic_id = device_number(call.arguments[1], "NIC")
    return actions.for_one(
        call, "VM", "Detaching NIC", lambda vm: call.client.identifier("one.vm.detachnic", vm, nic_id)
    )


def _resize(call: Call) -> int:
    text = new_template(call, call.values.text("file"), _SIZE_OPTIONS, _size_template(call.values))
    enforce = call.values.switch("enforce")
    return actions.for_one(
        call, "VM", "Resizing VM", lambda vm: call.client.identifier("one.vm.resize", vm, text, enforce)
    )


def _size_template(values: Values) -> str:
    pairs: list[tuple[str, str]] = []
    if (cpu := values.text("cpu")) is not None:
        pairs.append(("CPU", _checked_cpu(cpu)))
    if (vcpu := values.number("vcpu")) is not None:
        if vcpu < 1:
            raise UsageError("--vcpu must be at least 1, it is 0.")
        pairs.append(("VCPU", str(vcpu)))
    if (memory := values.text("memory")) is not None:
        pairs.append(("MEMORY", str(size_mb(memory, "--memory"))))
    return write_text(Template(pairs))


def _checked_cpu(text: str) -> str:
    try:
        cpu = float(text)
    except ValueError:
        cpu = 0.0
    if not (math.isfinite(cpu) and cpu > 0):
        raise UsageError(f"--cpu must be a number above 0 such as 0.5 or 2, it is '{text}'.")
    return text


DEVICE_COMMANDS = (
    Command("disk-attach", ("<vmid>",), "give a VM another disk", _attach_disk, (_FILE, *_DISK_OPTIONS)),
    Command("disk-detach", ("<vmid>", "<diskid>"), "take a disk from a VM", _detach_disk),
    Command("disk-resize", ("<vmid>", "<diskid>", "<size>"), "make a disk larger, such as to 20g", _resize_disk),
    Command("nic-attach", ("<vmid>",), "give a VM another NIC", _attach_nic, (_FILE, *_NIC_OPTIONS)),
    Command("nic-detach", ("<vmid>", "<nicid>"), "take a NIC from a VM", _detach_nic),
    Command("resize", ("<vmid>",), "change CPU and memory of a VM", _resize, (_FILE, *_SIZE_OPTIONS, ENFORCE)),
)
