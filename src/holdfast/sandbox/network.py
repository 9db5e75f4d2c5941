"""The rack's wires, made from within its network namespace: one bridge, one cable to each host.

The bridge is also the rack's own port on that network: the controller and the storage are there, and every BMC has an
address beside it, which no cut of a host's cable touches.
"""

import contextlib
import socket

from holdfast.sandbox.commands import run
from holdfast.sandbox.errors import RackError
from holdfast.sandbox.layout import CONTROLLER_ADDRESS, HostPlace, RackConfig

HOST_DEVICE = "eth0"
_BRIDGE = "br0"
_DISCARD_PORT = 9
_LIMIT_S = 10


def build(config: RackConfig) -> None:
    """The bridge with the rack's addresses."""
    addresses = [f"{CONTROLLER_ADDRESS}/24", *(f"{place.bmc_address}/24" for place in config.places)]
    _ip(
        "link set lo up",
        f"link add {_BRIDGE} address {_mac(0)} type bridge forward_delay 0",
        *(f"addr add {address} dev {_BRIDGE}" for address in addresses),
        f"link set {_BRIDGE} up",
    )


def plug(place: HostPlace, host_pid: int, *, cut: bool) -> None:
    """A cable from the bridge to a host that has just been switched on."""
    cable = _cable(place)
    _ip(
        f"link add {cable} type veth peer name {HOST_DEVICE} address {_mac(place.number)} netns {host_pid}",
        f"link set {cable} master {_BRIDGE}",
        f"link set {cable} {'down' if cut else 'up'}",
    )


def unplug(place: HostPlace) -> None:
    """Takes the cable away, if it is there: nothing the host still sends arrives anywhere."""
    try:
        _ip(f"link del {_cable(place)}")
    except RackError as exc:
        if "Cannot find device" not in str(exc):
            raise


def cut(place: HostPlace) -> None:
    """Cuts the cable; both ends see it."""
    _ip(f"link set {_cable(place)} down")


def heal(place: HostPlace) -> None:
    """Mends the cable."""
    _ip(f"link set {_cable(place)} up")


def configure_host(place: HostPlace) -> None:
    """The host's end, from within the host."""
    _ip(
        "link set lo up",
        f"addr add {place.address}/24 dev {HOST_DEVICE}",
        f"link set {HOST_DEVICE} up",
    )
    _announce()


def _announce() -> None:
    """Any datagram makes us known to the controller; else it would ask for us again only after a second."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams, contextlib.suppress(OSError):
        datagrams.sendto(b"", (CONTROLLER_ADDRESS, _DISCARD_PORT))


def _cable(place: HostPlace) -> str:
    return f"cable{place.number}"


def _mac(number: int) -> str:
    """Fixed, as on a network card: whoever knows the host from before its power failure finds it again at once."""
    return f"52:54:00:77:00:{number:02x}"


def _ip(*orders: str) -> None:
    run(["ip", "-batch", "-"], _LIMIT_S, text="\n".join(orders) + "\n")
