"""libvirt's domain states and lifecycle events as what the VM's life cycle wants to know, as tables.

A VM that libvirt has paused by itself (I/O error, watchdog) has failed; one that a user paused is PAUSED, and so is one
that a migration or a restore has left held.  Events that belong to saving say nothing about the VM's health, nor do
definitions and snapshots.
"""

from __future__ import annotations

import re
from enum import StrEnum

import libvirt

_NAME = re.compile(r"one-(\d+)")


class DomainReport(StrEnum):
    """What became of a domain."""

    RUNNING = "RUNNING"
    POWEROFF = "POWEROFF"
    FAILURE = "FAILURE"
    PAUSED = "PAUSED"


_STATES = {
    libvirt.VIR_DOMAIN_RUNNING: DomainReport.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: DomainReport.RUNNING,
    libvirt.VIR_DOMAIN_SHUTDOWN: DomainReport.RUNNING,
    libvirt.VIR_DOMAIN_SHUTOFF: DomainReport.POWEROFF,
    libvirt.VIR_DOMAIN_CRASHED: DomainReport.FAILURE,
    libvirt.VIR_DOMAIN_PMSUSPENDED: DomainReport.PAUSED,
}
_PAUSED = {
    libvirt.VIR_DOMAIN_PAUSED_USER: DomainReport.PAUSED,
    libvirt.VIR_DOMAIN_PAUSED_MIGRATION: DomainReport.PAUSED,
    libvirt.VIR_DOMAIN_PAUSED_SAVE: DomainReport.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED_DUMP: DomainReport.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED_SNAPSHOT: DomainReport.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED_STARTING_UP: DomainReport.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED_POSTCOPY: DomainReport.RUNNING,
}
_FAILED_STOPS = (libvirt.VIR_DOMAIN_SHUTOFF_CRASHED, libvirt.VIR_DOMAIN_SHUTOFF_FAILED)

_STOPPED = {
    libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN: DomainReport.POWEROFF,
    libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED: DomainReport.POWEROFF,
    libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED: DomainReport.FAILURE,
    libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED: DomainReport.FAILURE,
}
_SUSPENDED = {
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED_PAUSED: DomainReport.PAUSED,
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED: DomainReport.PAUSED,
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED_RESTORED: DomainReport.PAUSED,
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED_FROM_SNAPSHOT: DomainReport.PAUSED,
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED_IOERROR: DomainReport.FAILURE,
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED_WATCHDOG: DomainReport.FAILURE,
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED_API_ERROR: DomainReport.FAILURE,
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY_FAILED: DomainReport.FAILURE,
}


def vm_id_of(name: str) -> int | None:
    """The VM whose domain has this name; None for domains that are not ours."""
    match = _NAME.fullmatch(name)
    return int(match.group(1)) if match else None


def report_of_state(state: int, reason: int) -> DomainReport:
    """What a domain in this state is; FAILURE when libvirt itself does not know, for the domain is there."""
    if state == libvirt.VIR_DOMAIN_PAUSED:
        return _PAUSED.get(reason, DomainReport.FAILURE)
    if state == libvirt.VIR_DOMAIN_SHUTOFF and reason in _FAILED_STOPS:
        return DomainReport.FAILURE
    return _STATES.get(state, DomainReport.FAILURE)


def report_of_event(event: int, detail: int) -> DomainReport | None:
    """What a lifecycle event tells, None when nothing."""
    match event:
        case libvirt.VIR_DOMAIN_EVENT_STARTED:
            return None if detail == libvirt.VIR_DOMAIN_EVENT_STARTED_MIGRATED else DomainReport.RUNNING
        case libvirt.VIR_DOMAIN_EVENT_RESUMED:
            return DomainReport.RUNNING
        case libvirt.VIR_DOMAIN_EVENT_STOPPED:
            return _STOPPED.get(detail)
        case libvirt.VIR_DOMAIN_EVENT_SUSPENDED:
            return _SUSPENDED.get(detail)
        case libvirt.VIR_DOMAIN_EVENT_CRASHED:
            return DomainReport.FAILURE
        case libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED:
            return DomainReport.PAUSED
    return None
