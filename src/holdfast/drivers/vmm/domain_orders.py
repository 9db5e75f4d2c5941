"""What is done to one domain over an open libvirt connection.  Blocking; runs in a link's threads.

``libvirtError`` passes through where libvirt refuses; a domain that is not there (any more) is an ordinary result.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from enum import Enum
from typing import Any

import libvirt

from holdfast.drivers.vmm.line import Connection
from holdfast.model.errors import HoldfastError

_BUTTON_AND_AGENT = libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN | libvirt.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT
_UNKNOWN_FLAGS = (libvirt.VIR_ERR_INVALID_ARG, libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_OPERATION_UNSUPPORTED)

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
        if found is None:
            return Presence.ABSENT
        state, reason = found.state()[:2]
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return Presence.ABSENT
        raise
    if state == libvirt.VIR_DOMAIN_SHUTOFF:
        return Presence.ABSENT
    if state == libvirt.VIR_DOMAIN_PAUSED and reason == libvirt.VIR_DOMAIN_PAUSED_STARTING_UP:
        return Presence.STARTING
    return Presence.PAUSED if state in _HELD else Presence.RUNNING


def start(connection: Connection, domain: Domain, text: str) -> None:
    """Creates the transient domain; one of ours that is there already is left running, or resumed."""
    presence = look(connection, domain)
    if presence is Presence.PAUSED:
        connection.lookupByUUIDString(domain.uuid).resume()
    elif presence is Presence.ABSENT:
        _refuse_foreign(connection, domain)
        connection.createXML(text, 0)


def _refuse_foreign(connection: Connection, domain: Domain) -> None:
    with contextlib.suppress(libvirt.libvirtError):
        other = connection.lookupByName(domain.name).UUIDString()
        if other != domain.uuid:
            raise NameTaken(f"A domain {domain.name} with UUID {other} is there already; this VM's is {domain.uuid}.")


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
