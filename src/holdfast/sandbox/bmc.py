"""A host's BMC: ipmi_sim speaking IPMI over LAN beside the host, with the host's real power behind it.

It lives outside the host and outlives it.  The password is in its configuration file, which only its owner can read.

Faults for drills.  DEAD: the address takes packets and never answers, like a crashed BMC (not like a closed port, which
would be told at once).  SLOW: orders are acknowledged at once and carried out after the delay, in order; readings stay
true.  LYING: every reading is "off", orders are acknowledged, and nothing happens.
"""

import asyncio
import secrets
import shutil
import socket
import time
from enum import StrEnum
from pathlib import Path

from holdfast.sandbox import chassis
from holdfast.sandbox.children import Child, Children, Service
from holdfast.sandbox.errors import RackError
from holdfast.sandbox.layout import BMC_PORT, BMC_USER, Layout
from holdfast.sandbox.machine import Machine

_PRIVATE = 0o600
_AUTHENTICATION = ("callback", "user", "operator", "admin")


class BmcMode(StrEnum):
    """How the BMC behaves."""

    OK = "ok"
    DEAD = "dead"
    SLOW = "slow"
    LYING = "lying"


def new_password(file: Path) -> str:
    """A random password for every BMC of a rack, written where only the owner can read it."""
    password = secrets.token_hex(8)  # IPMI 2.0 allows 20 bytes, old tools 16
    file.touch(mode=_PRIVATE)
    file.write_text(password + "\n", encoding="ascii")
    return password


class Bmc:
    """The BMC of one machine."""

    def __init__(self, machine: Machine, layout: Layout, children: Children) -> None:
        self.mode = BmcMode.OK
        self.delay_s = 0.0
        self._machine = machine
        self._folder = layout.bmc(machine.place)
        self._children = children
        self._service = Service(self._start_simulator)
        self._black_hole: socket.socket | None = None
        self._orders: set[asyncio.Task[None]] = set()
        self._order_lock = asyncio.Lock()

    def switch_on(self, password: str) -> None:
        """Writes its configuration and starts it."""
        for name, content in (("lan.conf", self._lan_conf(password)), ("bmc.emu", _COMMANDS)):
            file = self._folder / name
            file.touch(mode=_PRIVATE)
            file.write_text(content, encoding="ascii")
        program = self._folder / "chassis"
        shutil.copyfile(chassis.__file__, program)
        program.chmod(0o700)
        self._service.start()

    async def wait_ready(self, limit_s: float) -> None:
        """Returns when it listens; RackError after this time."""
        give_up_at = time.monotonic() + limit_s
        while not _listening(self._machine.place.bmc_address):
            if time.monotonic() > give_up_at:
                raise RackError(f"{self._machine.place.name}: its BMC does not start; see {self._folder}/ipmi_sim.log")
            await asyncio.sleep(0.01)

    async def set_mode(self, mode: BmcMode, delay_s: float = 0.0) -> None:
        """Breaks or repairs it; orders that wait already are still carried out."""
        if mode is BmcMode.SLOW and not 0 < delay_s <= 600:
            raise RackError(f"a slow BMC needs its delay in seconds, above 0 and up to 600, not {delay_s:g}")
        if mode is BmcMode.DEAD and self._black_hole is None:
            await self._service.stop()
            self._black_hole = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._black_hole.bind((self._machine.place.bmc_address, BMC_PORT))
        elif mode is not BmcMode.DEAD and self._black_hole:
            self._black_hole.close()
            self._black_hole = None
            self._service.start()
        self.mode, self.delay_s = mode, delay_s if mode is BmcMode.SLOW else 0.0

    def reading(self) -> bool:
        """Whether it says that the host has power."""
        return self._machine.powered and self.mode is not BmcMode.LYING

    async def order(self, order: str) -> None:
        """Takes an order: on, off or reset; when it is not slow and does not lie, it is done on return."""
        if order not in ("on", "off", "reset"):
            raise RackError(f"power order {order!r}: a BMC takes on, off and reset")
        if self.mode is BmcMode.SLOW:
            task = asyncio.create_task(self._carry_out(order, self.delay_s))
            self._orders.add(task)
            task.add_done_callback(self._end_order)
        elif self.mode is not BmcMode.LYING:
            await self._carry_out(order, 0.0)

    async def _carry_out(self, order: str, delay_s: float) -> None:
        async with self._order_lock:
            await asyncio.sleep(delay_s)
            if order in ("off", "reset"):
                await self._machine.power_off()
            if order in ("on", "reset"):
                await self._machine.power_on()

    def _end_order(self, task: asyncio.Task[None]) -> None:
        self._orders.discard(task)
        if not task.cancelled() and task.exception():
            print(f"{self._machine.place.name}: delayed power order failed: {task.exception()}", flush=True)

    def _start_simulator(self) -> Child:
        argv = ["ipmi_sim", "-c", "lan.conf", "-f", "bmc.emu", "-s", "state", "-n"]
        return self._children.start(argv, self._folder / "ipmi_sim.log", cwd=self._folder)

    def _lan_conf(self, password: str) -> str:
        place = self._machine.place
        return "\n".join(
            [
                f'name "{place.name}"',
                "set_working_mc 0x20",
                "startlan 1",
                f"addr {place.bmc_address} {BMC_PORT}",
                "priv_limit admin",
                *(f"allowed_auths_{level} md5" for level in _AUTHENTICATION),
                f"guid {place.number:032x}",
                "endlan",
                'chassis_control "./chassis"',
                f'user 2 true "{BMC_USER}" "{password}" admin 10 md5',
                "",
            ]
        )


def _listening(address: str) -> bool:
    """Whether somebody takes datagrams there; the kernel writes the address as one little-endian number."""
    octets = bytes(int(part) for part in reversed(address.split(".")))
    entry = f"{octets.hex().upper()}:{BMC_PORT:04X}"
    return entry in Path("/proc/net/udp").read_text(encoding="ascii")


_COMMANDS = """mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
sel_enable 0x20 1000 0x0a
mc_enable 0x20
"""
