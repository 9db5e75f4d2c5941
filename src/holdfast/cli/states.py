"""The words for states: the four letters of the STAT columns and the names on the show screens.

VM numbers and names come from :mod:`holdfast.model.vm_states`; host numbers 1, 5, 6 and 7 are still sent by
OpenNebula, so they are known here.
"""

from __future__ import annotations

from holdfast.model.vm_states import LcmState, VmState

HOST_NAMES = (
    "INIT", "MONITORING_MONITORED", "MONITORED", "ERROR", "DISABLED",
    "MONITORING_ERROR", "MONITORING_INIT", "MONITORING_DISABLED", "OFFLINE",
)  # fmt: skip
HOST_WORDS = ("init", "update", "on", "err", "dsbl", "retry", "init", "dsbl", "off")

IMAGE_NAMES = (
    "INIT", "READY", "USED", "DISABLED", "LOCKED", "ERROR", "CLONE", "DELETE", "USED_PERS", "LOCKED_USED",
    "LOCKED_USED_PERS",
)  # fmt: skip
IMAGE_WORDS = ("init", "rdy", "used", "disa", "lock", "err", "clon", "dele", "used", "lock", "lock")
IMAGE_TYPE_NAMES = ("OS", "CDROM", "DATABLOCK", "KERNEL", "RAMDISK", "CONTEXT", "BACKUP")
IMAGE_TYPE_WORDS = ("OS", "CD", "DB", "KL", "RD", "CX", "BK")

DATASTORE_TYPE_NAMES = ("IMAGE", "SYSTEM", "FILE", "BACKUP")
DATASTORE_TYPE_WORDS = ("img", "sys", "fil", "bck")
DATASTORE_NAMES = ("READY", "DISABLED")
DATASTORE_WORDS = ("on", "off")

LOCK_NAMES = ("None", "Use", "Manage", "Admin", "All")

_VM_WORDS = ("init", "pend", "hold", "actv", "stop", "susp", "done", "fail", "poff", "unde", "clon", "fail")
_LCM_WORDS = (
    ("HOTPLUG_SNAPSHOT", "snap"), ("DISK_SNAPSHOT", "snap"), ("DISK_RESIZE", "drsz"), ("PROLOG_MIGRATE", "migr"),
    ("PROLOG", "prol"), ("BOOT", "boot"), ("RUNNING", "runn"), ("MIGRATE", "migr"), ("SAVE", "save"),
    ("EPILOG", "epil"), ("SHUTDOWN", "shut"), ("CANCEL", "shut"), ("UNKNOWN", "unkn"), ("HOTPLUG", "hotp"),
    ("CLEANUP", "clea"), ("BACKUP", "back"), ("RESTORE", "rest"),
)  # fmt: skip

_ACTION_WORDS = (
    "none", "migrate", "live-migrate", "shutdown", "shutdown-hard", "undeploy", "undeploy-hard", "hold", "release",
    "stop", "suspend", "resume", "boot", "delete", "delete-recreate", "reboot", "reboot-hard", "resched", "unresched",
    "poweroff", "poweroff-hard", "disk-attach", "disk-detach", "nic-attach", "nic-detach", "disk-snapshot-create",
    "disk-snapshot-delete", "terminate", "terminate-hard", "disk-resize", "deploy", "chown", "chmod", "updateconf",
    "rename", "resize", "update", "snapshot-create", "snapshot-delete", "snapshot-revert", "disk-saveas",
    "disk-snapshot-revert", "recover", "retry", "monitor", "disk-snapshot-rename", "alias-attach", "alias-detach",
    "poweroff-migrate", "poweroff-hard-migrate", "backup", "nic-update", "backup-cancel", "sched-add", "sched-update",
    "sched-delete", "sg-attach", "sg-detach", "pci-attach", "pci-detach", "restore", "exec", "exec-retry",
    "exec-cancel", "vmgroup-add", "vmgroup-del",
)  # fmt: skip
"""By the number of a history record's ACTION; OpenNebula's core stores only some of them."""


def word(words: tuple[str, ...], number: int) -> str:
    """The entry for a state number, ``?`` when the server knows more states than we do."""
    return words[number] if 0 <= number < len(words) else "?"


def vm_name(state: int) -> str:
    """STATE in full."""
    return VmState(state).name if state in VmState.__members__.values() else str(state)


def lcm_name(lcm_state: int) -> str:
    """LCM_STATE in full."""
    return LcmState(lcm_state).name if lcm_state in LcmState.__members__.values() else str(lcm_state)


def vm_word(state: int, lcm_state: int) -> str:
    """The STAT column of a VM: STATE, or LCM_STATE while the VM is ACTIVE."""
    if state != VmState.ACTIVE or lcm_state == LcmState.LCM_INIT:
        return word(_VM_WORDS, state)
    name = lcm_name(lcm_state)
    if name.endswith("FAILURE"):
        return "fail"
    return next((short for prefix, short in _LCM_WORDS if name.startswith(prefix)), "?")


def action_word(number: int) -> str:
    """What closed a history record: ``none``, ``migrate``, ``poweroff-hard``…"""
    return _ACTION_WORDS[number] if 0 <= number < len(_ACTION_WORDS) else str(number)
