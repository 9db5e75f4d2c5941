"""What a user may say of a DISK or NIC, so that a VM is refused at once instead of when a host is to start it.

The rules are those of the deployment file and of libvirt, and one of our own: what decides where a disk's bytes are,
who else may write to them and what becomes of them at the end (SOURCE, SHAREABLE, SAVE, CLONE, TM_MAD …) follows from
image and datastore.  Such attributes come along in templates that were copied from a VM, so they are dropped, unless
dropping them would give the user something else than was asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.engine.handlers.sizes import MAX_MB, shown
from holdfast.model.errors import ActionError
from holdfast.model.template import Section

MARKS = ("ATTACH", "CLONING", "DISK_SNAPSHOT_ACTIVE", "RESIZE", "SIZE_PREV")
"""Attributes that say what is under way: not the user's to set."""
_DERIVED = frozenset(
    "SOURCE CLONE SAVE PERSISTENT SHAREABLE READONLY DATASTORE DATASTORE_ID TM_MAD TM_MAD_SYSTEM DISK_TYPE DISK_ID "
    "CLONE_TARGET LN_TARGET ORIGINAL_SIZE DISK_SNAPSHOT_TOTAL_SIZE CLUSTER_ID IMAGE_STATE OPENNEBULA_MANAGED".split()
)
"""Attributes of a disk that follow from its image and datastore."""
_DERIVED_PREFIXES = ("CLONE_TARGET_", "LN_TARGET_", "DISK_TYPE_")
_DIRECT_CACHES = ("", "none", "directsync")


class DeviceRefused(ActionError):
    """A DISK or NIC that cannot be; the message names the attribute and the rule."""


@dataclass(frozen=True, slots=True)
class Rule:
    """The form of a value, and the same in words."""

    form: re.Pattern[str]
    said: str


def _form(pattern: str, said: str) -> Rule:
    return Rule(re.compile(pattern), said)


def _one_of(*values: str) -> Rule:
    return Rule(re.compile("|".join(values)), f"one of {', '.join(values)}")


_INTERFACE = _form(
    r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}", "the name of a network device: up to 15 letters, digits, dots, dashes"
)
_FORMAT = _one_of("raw", "qcow2")
_COUNT = _form(r"[0-9]{1,15}", "a whole number of at most 15 digits")
_RATE = _form(r"[0-9]{1,9}", "a whole number of at most 9 digits")
_QUEUES = _form(r"(?i:auto)|[1-9][0-9]{0,2}", "auto or a number from 1 to 999")
_LIMITS = ("TOTAL_BYTES_SEC", "READ_BYTES_SEC", "WRITE_BYTES_SEC", "TOTAL_IOPS_SEC", "READ_IOPS_SEC", "WRITE_IOPS_SEC")
_DISK_RULES = {
    "TARGET": _form(
        r"sd[a-h]?[a-z]|(?:hd|vd|xvd|fd)[a-z]{1,2}", "a device name such as vda or sdb (hd, sd, vd, xvd or fd, letters)"
    ),
    "DEV_PREFIX": _one_of("hd", "sd", "vd", "xvd", "fd"),
    "CACHE": _one_of("default", "none", "writethrough", "writeback", "directsync", "unsafe"),
    "IO": _one_of("native", "threads", "io_uring"),
    "DISCARD": _one_of("ignore", "unmap"),
    "FORMAT": _FORMAT,
    "DRIVER": _FORMAT,
    "SERIAL": _form(r"[A-Za-z0-9_. +-]{1,128}", "up to 128 letters, digits, blanks and . _ + -"),
    "IOTHREAD": _form(r"[1-9][0-9]{0,3}", "the number of an I/O thread, from 1"),
    "VIRTIO_BLK_QUEUES": _QUEUES,
    **{limit + end: _COUNT for limit in _LIMITS for end in ("", "_MAX", "_MAX_LENGTH")},
    "SIZE_IOPS_SEC": _COUNT,
}
_NIC_RULES = {
    "TARGET": _INTERFACE,
    "BRIDGE": _INTERFACE,
    "MAC": _form(
        r"(?!00(?::00){5})[0-9A-Fa-f][02468ACEace](?::[0-9A-Fa-f]{2}){5}",
        "six pairs of hexadecimal digits such as 02:00:c0:a8:00:01, the address of one card (its first pair is even)",
    ),
    "MODEL": _form(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", "a card that QEMU knows, such as virtio or e1000"),
    "FILTER": _form(r"[A-Za-z0-9_.-]{1,64}", "the name of a libvirt filter, such as clean-traffic"),
    "IP": _form(r"[0-9A-Fa-f:.]{2,45}", "an IP address"),
    "BRIDGE_TYPE": _form(r"(?i:linux|openvswitch|none)", "linux or openvswitch"),
    "VIRTIO_QUEUES": _QUEUES,
    **{f"{way}_{what}": _RATE for way in ("INBOUND", "OUTBOUND") for what in ("AVG_BW", "PEAK_BW", "PEAK_KB")},
}


def checked_disk(wanted: Mapping[str, str], cdrom: bool = False) -> Section:
    """What is the user's to say of a disk; ``cdrom``: its image is one.  Raises DeviceRefused."""
    _check("DISK", _DISK_RULES, wanted)
    _refuse_what_would_be_something_else(wanted, cdrom)
    if wanted.get("IO") == "native" and wanted.get("CACHE", "") not in _DIRECT_CACHES:
        raise DeviceRefused(
            f"DISK/IO native needs DISK/CACHE none or directsync, it is {wanted['CACHE']}: QEMU would not start."
        )
    return Section((name, value) for name, value in wanted.items() if not _is_derived(name))


def target_of(wanted: Mapping[str, str]) -> str:
    """The TARGET that the user chose for a disk, empty when it was left out; raises DeviceRefused."""
    _check("DISK", {"TARGET": _DISK_RULES["TARGET"]}, wanted)
    return wanted.get("TARGET", "")


def checked_nic(wanted: Mapping[str, str]) -> Section:
    """What is the user's to say of a NIC.  Raises DeviceRefused."""
    _check("NIC", _NIC_RULES, wanted)
    return Section((name, value) for name, value in wanted.items() if name not in MARKS)


def check_prefix(prefix: str) -> None:
    """The device prefix of an image or of DEFAULT_DEVICE_PREFIX, which nobody has looked at; raises DeviceRefused."""
    rule = _DISK_RULES["DEV_PREFIX"]
    if not rule.form.fullmatch(prefix):
        raise DeviceRefused(
            f"The DEV_PREFIX of the image, or DEFAULT_DEVICE_PREFIX, is {shown(prefix)}, it must be {rule.said}: "
            f"correct it, or give the DISK a TARGET."
        )


def size_rule() -> str:
    """What the SIZE of a disk is."""
    return f"a whole number of MB, at most {MAX_MB}"


def _check(kind: str, rules: Mapping[str, Rule], wanted: Mapping[str, str]) -> None:
    for name, rule in rules.items():
        value = wanted.get(name, "")
        if value and not rule.form.fullmatch(value):
            raise DeviceRefused(
                f"{kind}/{name} must be {rule.said}; it is {shown(value)}. Correct it, or leave it out."
            )


def _refuse_what_would_be_something_else(wanted: Mapping[str, str], cdrom: bool) -> None:
    if _is_yes(wanted, "SHAREABLE"):
        raise DeviceRefused(
            "DISK/SHAREABLE=YES would let two VMs write to one disk without a lock: leave it out. VMs may share an "
            "image that is not persistent; each has its own copy."
        )
    if _is_yes(wanted, "READONLY") and not cdrom:
        raise DeviceRefused("DISK/READONLY=YES is for images of type CDROM only: use such an image, or leave it out.")
    if wanted.get("SOURCE") and not wanted.keys() & {"IMAGE_ID", "IMAGE"}:
        raise DeviceRefused(
            "DISK/SOURCE is not a user's to set: make an image of the file (oneimage create --path) and name it with "
            "DISK/IMAGE, or leave SOURCE out for an empty disk."
        )


def _is_yes(wanted: Mapping[str, str], name: str) -> bool:
    return wanted.get(name, "").strip().upper() == "YES"


def _is_derived(name: str) -> bool:
    return name in _DERIVED or name in MARKS or name.startswith(_DERIVED_PREFIXES)
