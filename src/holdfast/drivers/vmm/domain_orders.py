"""What is done to one domain over an open libvirt connection.  Blocking; runs in a link's threads.

``libvirtError`` passes through where libvirt refuses; a domain that is not there (any more) is an ordinary result.
A domain that came by a migration carries a mark in its metadata until it has run here (:mod:`.migration_orders`).
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from enum import Enum
from typing import Any

import libvirt

from holdfast.drivers.vmm.line import Connection
from holdfast.model.errors import HoldfastError

ARRIVAL_NAMESPACE = "https://holdfast/xmlns/arrival/1"
"""The mark's namespace; metadata is found by it."""
_BUTTON_AND_AGENT = libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN | libvirt.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT
_UNKNOWN_FLAGS = (libvirt.VIR_ERR_INVALID_ARG, libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_OPERATION_UNSUPPORTED)
_MOVED = (libvirt.VIR_DOMAIN_PAUSED_MIGRATION, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY)
_BY_A_SAVE = (libvirt.VIR_DOMAIN_PAUSED_IOERROR, libvirt.VIR_DOMAIN_PAUSED_SAVE)
"""Why a guest stands still after a save that failed: the draft had taken the room of its disks, or libvirt left it."""
_HELD = (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_CRASHED, libvirt.VIR_DOMAIN_PMSUSPENDED)


class NameTaken(HoldfastError):
    """A domain with the VM's name, but not the VM's."""


@dataclass(frozen=True, slots=True)
class Domain:
    """How a VM's domain is recognised."""

    name: str
    uuid: str


class Presence(Enum):
    """Whether a VM has a domain on a host; one that is paused or crashed still holds its disks."""

    ABSENT = "absent"
    STARTING = "starting"
    PAUSED = "paused"
    HALTED = "paused in the middle of a migration or restore"
    INCOMING = "here by a migration, but never started here"
    RUNNING = "running"


def find(connection: Connection, domain: Domain) -> Any | None:
    """The VM's domain if it is active, else None."""
    try:
        found = connection.lookupByUUIDString(domain.uuid)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise
    return found if found.name() == domain.name and found.isActive() else None


def look(connection: Connection, domain: Domain) -> Presence:
    """The state of the VM's domain."""
    try:
        found = find(connection, domain)
        return Presence.ABSENT if found is None else _presence(found)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return Presence.ABSENT
        raise


def _presence(found: Any) -> Presence:
    state, reason = found.state()[:2]
    if state == libvirt.VIR_DOMAIN_SHUTOFF:
        return Presence.ABSENT
    if state not in _HELD:
        return Presence.RUNNING
    if _arrived(found):
        return Presence.INCOMING
    if state == libvirt.VIR_DOMAIN_PAUSED:
        if reason == libvirt.VIR_DOMAIN_PAUSED_STARTING_UP:
            return Presence.STARTING
        if reason in _MOVED:
            return Presence.HALTED
    return Presence.PAUSED


def _arrived(found: Any) -> bool:
    try:
        found.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, ARRIVAL_NAMESPACE)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            raise
        return False
    return True


def is_busy(connection: Connection, domain: Domain) -> bool:
    """Whether libvirt is at work on the domain: saving, migrating, restoring it."""
    found = find(connection, domain)
    try:
        return found is not None and found.jobInfo()[0] != libvirt.VIR_DOMAIN_JOB_NONE
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_SUPPORT:
            return False  # a hypervisor without jobs
        raise


def abort(connection: Connection, domain: Domain) -> None:
    """Ends what libvirt is at with the domain; when that is nothing (any more), that is fine."""
    with contextlib.suppress(libvirt.libvirtError):
        found = find(connection, domain)
        if found is not None:
            found.abortJob()


def forget_snapshots(found: Any, but: str = "") -> None:
    """Takes our system snapshots, left by an order that was cut short, from libvirt's record: it forbids migrations.

    The disks keep them.
    """
    for name in found.snapshotListNames():
        prefix, _, number = name.partition("-")
        if name != but and prefix == "snap" and number.isdecimal():
            found.snapshotLookupByName(name).delete(libvirt.VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY)


def needs_creation(presence: Presence) -> bool:
    """What a migration or a restore left half done is no VM any more: whoever orders a start wants a fresh one."""
    return presence in (Presence.ABSENT, Presence.HALTED, Presence.INCOMING)


def start(connection: Connection, domain: Domain, text: str, may_create: bool) -> bool:
    """Creates the transient domain.  One of ours that is there is left running, or resumed if a user paused it.

    False, and nothing done, when it has to be created and must not be (yet).
    """
    presence = look(connection, domain)
    if presence is Presence.PAUSED:
        resume(connection, domain)
        return True
    if not needs_creation(presence):
        return True
    if may_create:
        if presence is not Presence.ABSENT:
            destroy(connection, domain)
        refuse_foreign(connection, domain)
        connection.createXML(text, 0)
    return may_create


def refuse_foreign(connection: Connection, domain: Domain) -> None:
    """Raises NameTaken when somebody else's domain has the VM's name."""
    with contextlib.suppress(libvirt.libvirtError):
        other = connection.lookupByName(domain.name).UUIDString()
        if other != domain.uuid:
            raise NameTaken(f"A domain {domain.name} with UUID {other} is there already; this VM's is {domain.uuid}.")


def resume(connection: Connection, domain: Domain) -> None:
    """Lets a paused domain go on; absent is fine."""
    found = find(connection, domain)
    if found is not None:
        found.resume()


def let_go_on(connection: Connection, domain: Domain) -> bool:
    """Lets a guest go on that a failed save has left standing; answers whether it stood.

    One that was paused by its user before the save stays so.
    """
    found = find(connection, domain)
    if found is None:
        return False
    state, reason = found.state()[:2]
    stands = state == libvirt.VIR_DOMAIN_PAUSED and reason in _BY_A_SAVE
    if stands:
        found.resume()
    return stands


def destroy(connection: Connection, domain: Domain) -> None:
    """Stops the domain at once; absent is fine."""
    found = find(connection, domain)
    if found is not None:
        try:
            found.destroy()
        except libvirt.libvirtError as error:
            if look(connection, domain) is not Presence.ABSENT:
                raise error


def press_button(connection: Connection, domain: Domain) -> None:
    """Asks the guest to shut down: through its agent when it has one, else with the ACPI power button."""
    found = find(connection, domain)
    if found is None:
        return
    try:
        found.shutdownFlags(_BUTTON_AND_AGENT)
    except libvirt.libvirtError as error:
        if error.get_error_code() not in _UNKNOWN_FLAGS:
            if look(connection, domain) is Presence.ABSENT:
                return
            raise
        found.shutdown()


def reboot(connection: Connection, domain: Domain) -> bool:
    """Asks the guest to reboot; false when there is no domain."""
    found = find(connection, domain)
    if found is not None:
        found.reboot(0)
    return found is not None


def reset(connection: Connection, domain: Domain) -> bool:
    """Presses the reset button; false when there is no domain."""
    found = find(connection, domain)
    if found is not None:
        found.reset(0)
    return found is not None
