"""The process behind a rack: holds its power, cables, BMCs and storage, and takes orders on a socket.

Started by rack.py as the first process of the rack's namespaces, it belongs to nobody's terminal and stays until it is
told to stop, or its directory is gone.  When it ends, however it ends, the kernel ends everything else in the rack.
The directory's lock, which it inherits, says to others that the rack is up.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from holdfast.sandbox import capabilities, network, ssh_access
from holdfast.sandbox.bmc import Bmc, BmcMode
from holdfast.sandbox.children import Children
from holdfast.sandbox.consoles import stamp_arrivals
from holdfast.sandbox.errors import RackError
from holdfast.sandbox.layout import HostPlace, Layout, RackConfig, Storage, find_host
from holdfast.sandbox.machine import Machine
from holdfast.sandbox.nbd import NbdStorage

_READY_LIMIT_S = 30.0
_STORAGE_LIMIT_S = 10.0
_DIRECTORY_CHECK_S = 0.5

Request = dict[str, Any]
Answer = dict[str, object]


class Supervisor:
    """One rack at work."""

    def __init__(self, layout: Layout, config: RackConfig) -> None:
        self._layout = layout
        self._config = config
        self._children = Children()
        self._machines = {place: Machine(place, layout, config, self._children) for place in config.places}
        self._bmcs = {place: Bmc(self._machines[place], layout, self._children) for place in config.places}
        self._stopping = asyncio.Event()
        self._commands: dict[str, Callable[[Request], Awaitable[Answer]]] = {
            "status": self._status,
            "power-off": self._power_off,
            "power-on": self._power_on,
            "cut": self._cut,
            "heal": self._heal,
            "ssh": self._ssh,
            "bmc-mode": self._bmc_mode,
            "bmc-reading": self._bmc_reading,
            "bmc-order": self._bmc_order,
            "stop": self._stop,
        }

    async def run(self, say_ready: Callable[[], None]) -> None:
        """Builds the rack, says so, and serves until it is stopped."""
        loop = asyncio.get_running_loop()
        self._children.watch(loop)
        loop.add_signal_handler(signal.SIGTERM, self._stopping.set)
        network.build(self._config)
        if self._config.storage is Storage.SSH:
            ssh_access.prepare(self._layout, self._config.places)
        server = await asyncio.start_unix_server(self._converse, self._layout.control)
        stored = asyncio.Event()
        duties = [self._watch_directory(), stamp_arrivals(self._layout.consoles), self._build(stored, say_ready)]
        if self._config.storage is Storage.NBD:
            duties.append(NbdStorage(self._layout, self._children).run(stored))
        else:
            stored.set()
        try:
            await self._until_stopped([asyncio.create_task(duty) for duty in duties])
        finally:
            server.close()
            await self._all_off()

    async def _until_stopped(self, duties: list[asyncio.Task[None]]) -> None:
        stopping = asyncio.create_task(self._stopping.wait())
        waiting: set[asyncio.Task[Any]] = {stopping, *duties}
        while not stopping.done():
            ended, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()  # a duty that fails ends the rack, with its traceback in the log
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    async def _build(self, stored: asyncio.Event, say_ready: Callable[[], None]) -> None:
        password = self._layout.bmc_password.read_text(encoding="ascii").strip()
        for bmc in self._bmcs.values():
            bmc.switch_on(password)
        machines = list(self._machines.values())
        if capabilities.known() is None:
            await machines[0].power_on()
            await machines[0].wait_ready(_READY_LIMIT_S)
            capabilities.ask(machines[0].place, self._layout.host(machines[0].place))
        await asyncio.gather(*(machine.power_on() for machine in machines))
        await asyncio.gather(*(machine.wait_ready(_READY_LIMIT_S) for machine in machines))
        await asyncio.gather(*(bmc.wait_ready(_READY_LIMIT_S) for bmc in self._bmcs.values()))
        await asyncio.wait_for(stored.wait(), _STORAGE_LIMIT_S)
        say_ready()

    async def _all_off(self) -> None:
        await asyncio.gather(*(machine.power_off() for machine in self._machines.values()))

    async def _watch_directory(self) -> None:
        """Ends the rack when its directory was removed or replaced under it."""
        ours = self._layout.root.stat().st_ino
        while not self._stopping.is_set():
            try:
                gone = self._layout.marker.parent.stat().st_ino != ours or not self._layout.marker.exists()
            except FileNotFoundError:
                gone = True
            if gone:
                self._stopping.set()
            await asyncio.sleep(_DIRECTORY_CHECK_S)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one client until it goes."""
        try:
            while line := await reader.readline():
                answer = await self._answer(line)
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            pass  # the client is gone, or sends a line without end
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> Answer:
        try:
            request = json.loads(line)
            command = self._commands.get(request["command"])
            if command is None:
                raise RackError(f"unknown command {request['command']!r}")
            return {"ok": True, **await command(request)}
        except (ValueError, KeyError, TypeError) as exc:
            return {"ok": False, "error": f"not a request: {exc!r}"}
        except (RackError, OSError) as exc:
            return {"ok": False, "error": str(exc)}

    def _machine(self, request: Request) -> Machine:
        return self._machines[find_host(self._config.places, str(request["host"]))]

    def _bmc(self, request: Request) -> Bmc:
        return self._bmcs[find_host(self._config.places, str(request["host"]))]

    async def _status(self, request: Request) -> Answer:
        return {"hosts": [self._host_status(place) for place in self._config.places]}

    def _host_status(self, place: HostPlace) -> Answer:
        machine, bmc = self._machines[place], self._bmcs[place]
        return {
            "number": place.number,
            "powered": machine.powered,
            "first_pid": machine.first_pid,
            "cut": machine.cut_off,
            "ssh": machine.ssh_on,
            "boot_id": machine.boot_id,
            "booted_at": machine.booted_at,
            "bmc_mode": bmc.mode.value,
            "bmc_delay_s": bmc.delay_s,
        }

    async def _power_off(self, request: Request) -> Answer:
        await self._machine(request).power_off()
        return {}

    async def _power_on(self, request: Request) -> Answer:
        machine = self._machine(request)
        await machine.power_on()
        if not machine.cut_off:
            await machine.wait_ready(_READY_LIMIT_S)
        return {"boot_id": machine.boot_id}

    async def _cut(self, request: Request) -> Answer:
        await self._machine(request).cut()
        return {}

    async def _heal(self, request: Request) -> Answer:
        await self._machine(request).heal()
        return {}

    async def _ssh(self, request: Request) -> Answer:
        await self._machine(request).switch_ssh(on=request["on"] is True)
        return {}

    async def _bmc_mode(self, request: Request) -> Answer:
        bmc = self._bmc(request)
        await bmc.set_mode(BmcMode(request["mode"]), float(request.get("delay_s", 0)))
        await bmc.wait_ready(_READY_LIMIT_S)
        return {}

    async def _bmc_reading(self, request: Request) -> Answer:
        return {"power": self._bmc(request).reading()}

    async def _bmc_order(self, request: Request) -> Answer:
        await self._bmc(request).order(str(request["order"]))
        return {}

    async def _stop(self, request: Request) -> Answer:
        await self._all_off()
        self._stopping.set()
        return {}


def main() -> None:
    """Runs the rack whose directory and readiness pipe are given; everything it prints is its log."""
    parser = argparse.ArgumentParser(prog="python -m holdfast.sandbox.supervisor")
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--ready-fd", type=int, required=True)
    arguments = parser.parse_args()
    os.umask(0o077)
    os.set_inheritable(arguments.ready_fd, False)

    def say_ready() -> None:
        with contextlib.suppress(BrokenPipeError):  # whoever asked for the rack is gone; the rack stays
            os.write(arguments.ready_fd, b"ready\n")
        os.close(arguments.ready_fd)

    layout = Layout(arguments.dir)
    asyncio.run(Supervisor(layout, layout.config()).run(say_ready))


if __name__ == "__main__":
    main()
