"""`holdfast sandbox …`: the rack from the command line.

`up` ends as soon as every host answers; the rack stays until `down`.  Each command says what it did.
Complaints go to standard error with exit code 1; the exit code of a ledger that is not clean is 2.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.sandbox import controller as controllers
from holdfast.sandbox import ledger, rack
from holdfast.sandbox.disks import find_disk
from holdfast.sandbox.errors import RackError
from holdfast.sandbox.ledger import Ledger
from holdfast.sandbox.rack import BmcMode, Host, Rack, RackConfig, Storage

NOT_CLEAN = 2
_SHORT = 8  # of a boot id tells two boots apart; --json has all of it
INTERRUPTED = 130
_SWITCHES = {
    "power-off": ("take a host's power away; its guests die with it", Rack.power_off, "has no power"),
    "power-on": ("give a host power; it boots with a new boot id", Rack.power_on, "is up"),
    "cut": ("cut a host off the network (with --storage nbd: off its disks too)", Rack.cut, "is cut off"),
    "heal": ("mend what cut did", Rack.heal, "is connected again"),
}

if TYPE_CHECKING:
    _Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

AfterUp = Callable[[Rack], list[str]]
BeforeDown = Callable[[Path], None]


def add_parser(
    subparsers: _Subparsers,
    *,
    after_up: AfterUp | None = None,
    before_down: BeforeDown | None = None,
) -> None:
    """Adds `sandbox`; `after_up` may start more on a new rack and says what to print, `before_down` ends that."""
    parser = subparsers.add_parser("sandbox", help="a rack of real hosts on this machine", description=__doc__)
    parser.set_defaults(run=lambda arguments: _run(arguments, after_up, before_down))
    commands = parser.add_subparsers(dest="sandbox_command", required=True, metavar="COMMAND")
    up = _command(commands, "up", "build a rack and switch it on; remains of an earlier one are removed")
    up.add_argument("--hosts", type=int, default=3, help="how many hosts (%(default)s)")
    up.add_argument("--storage", choices=[str(storage) for storage in Storage], default="dir", help=_STORAGE_HELP)
    up.add_argument("--ssh", dest="storage", action="store_const", const="ssh", help="short for --storage ssh")
    down = _command(commands, "down", "end the rack, whatever state it is in, and remove its files")
    down.add_argument("--keep-files", action="store_true", help="keep the directory, until the next `up`")
    status = _command(commands, "status", "the hosts, their power, cables and BMCs")
    status.add_argument("--json", action="store_true", help="for machines")
    for command, (explanation, _, _) in _SWITCHES.items():
        _command(commands, command, explanation).add_argument("host", metavar="HOST", help=_HOST_HELP)
    bmc = _command(commands, "bmc", "break or repair a host's BMC")
    bmc.add_argument("host", metavar="HOST", help=_HOST_HELP)
    bmc.add_argument("mode", choices=[str(mode) for mode in BmcMode], help=_BMC_HELP)
    bmc.add_argument("seconds", type=float, nargs="?", default=0.0, help="the delay of a slow one")
    ssh = _command(commands, "ssh", "end a host's ssh server with all its connections, or start it again")
    ssh.add_argument("host", metavar="HOST", help=_HOST_HELP)
    ssh.add_argument("order", choices=("off", "on"), help="stays so, also when the host boots")
    controller = _command(commands, "controller", "kill the rack's controller as a crash would, or start it again")
    controller.add_argument("order", choices=("kill", "start"), help="start: on the same port, with all it knew")
    judged = _command(commands, "ledger", "check what a guest wrote: one writer at a time, nothing lost?")
    judged.add_argument("vm", metavar="VM", help="its name or its ID")
    judged.add_argument("--json", action="store_true", help="for machines")


_STORAGE_HELP = (
    "dir: a shared directory, which a cut host keeps; nbd: disks over the network; "
    "ssh: hosts share nothing, each has an ssh server through which files are copied (%(default)s)"
)
_BMC_HELP = "ok; dead: never answers; slow: obeys SECONDS later; lying: says off, does nothing"
_HOST_HELP = "its name or its number"


def _command(commands: _Subparsers, name: str, explanation: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=explanation, description=explanation)
    parser.add_argument("--dir", type=Path, default=rack.default_directory(), help="the rack's directory (%(default)s)")
    return parser


def _run(arguments: argparse.Namespace, after_up: AfterUp | None, before_down: BeforeDown | None) -> int:
    command: str = arguments.sandbox_command
    directory = Path(arguments.dir).absolute()
    try:
        if command == "up":
            return _up(RackConfig(directory, arguments.hosts, Storage(arguments.storage)), after_up)
        if command == "down":
            return _down(directory, arguments.keep_files, before_down)
        if command == "ledger":
            return _ledger(directory, arguments.vm, as_json=arguments.json)
        if command == "status":
            return _status(rack.attach(directory), as_json=arguments.json)
        if command == "bmc":
            return _bmc(rack.attach(directory), arguments)
        if command == "ssh":
            return _ssh(rack.attach(directory), arguments.host, arguments.order)
        if command == "controller":
            return _controller(rack.attach(directory), arguments.order)
        return _switch(rack.attach(directory), command, arguments.host)
    except RackError as exc:
        print(f"holdfast sandbox {command}: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"holdfast sandbox {command}: interrupted", file=sys.stderr)
        return INTERRUPTED


def start_rack(config: RackConfig) -> Rack:
    """Builds a rack and says so."""
    started = time.monotonic()
    print(f"building a rack of {config.hosts} hosts in {config.directory} ...", flush=True)
    built = rack.start(config)
    print(f"{config.hosts} hosts up in {time.monotonic() - started:.1f} s, storage: {config.storage.value}")
    return built


def _up(config: RackConfig, after_up: AfterUp | None) -> int:
    built = start_rack(config)
    for host in built.hosts:
        print(f"  {host.name}  {host.libvirt_uri}  BMC {host.bmc_ip}:{host.bmc_port}")
    for line in after_up(built) if after_up else _next_steps(built):
        print(line)
    return 0


def _next_steps(built: Rack) -> list[str]:
    where = _where(built)
    inside = " ".join(built.enter_argv(["virsh", "-c", built.hosts[0].libvirt_uri, "list", "--all"]))
    return [
        "next:",
        f"  holdfast sandbox status{where}            what is up",
        f"  holdfast sandbox power-off{where} host1   pull the plug",
        f"  holdfast sandbox down{where}              end it all",
        f"the hosts are in a network of their own; a look at the first:\n  {inside}",
    ]


def _where(found: Rack) -> str:
    return "" if found.directory == rack.default_directory() else f" --dir {found.directory}"


def _down(directory: Path, keep_files: bool, before_down: BeforeDown | None) -> int:
    if before_down:
        before_down(directory)
    found = rack.remove(directory, keep_files=keep_files)
    kept = f"; its files are still in {directory}" if keep_files else ""
    print(f"the rack is down{kept}" if found else f"there is no rack in {directory}")
    return 0


def _switch(found: Rack, command: str, host: str) -> int:
    _, switch, outcome = _SWITCHES[command]
    name = found.host(host).name
    switch(found, host)
    print(f"{name} {outcome}")
    return 0


def _bmc(found: Rack, arguments: argparse.Namespace) -> int:
    found.set_bmc(arguments.host, BmcMode(arguments.mode), arguments.seconds)
    host = found.host(arguments.host)
    print(f"the BMC of {host.name} is {_bmc_word(host)}")
    return 0


def _bmc_word(host: Host) -> str:
    return f"slow ({host.bmc_delay_s:g} s)" if host.bmc_mode is BmcMode.SLOW else host.bmc_mode.value


def _ssh(found: Rack, host: str, order: str) -> int:
    found.switch_ssh(host, on=order == "on")
    print(f"the ssh server of {found.host(host).name} is {order}")
    return 0


def _controller(found: Rack, order: str) -> int:
    controller = controllers.attach(found)
    running = controllers.is_running(controller)
    if order == "kill":
        if running:
            controllers.kill(controller)
        print("the controller is dead" if running else "the controller was not running")
        return 0
    if not running:
        controller = controllers.restart(controller)
    word = "already runs" if running else "runs again"
    print(f"the controller {word}: process {controller.pid}, log: {controller.log}")
    print("\n".join(controllers.exports(controller)))
    return 0


def _status(found: Rack, *, as_json: bool) -> int:
    if as_json:
        hosts = [asdict(host) | {"directory": str(host.directory)} for host in found.hosts]
        print(json.dumps({"directory": str(found.directory), "storage": found.config.storage, "hosts": hosts}))
        return 0
    print(f"rack in {found.directory}")
    print(f"storage: {found.config.storage.value}, supervisor: process {found.supervisor_pid}")
    rows = [("HOST", "POWER", "NETWORK", "SSH", "ADDRESS", "BMC", "BMC STATE", "BOOT ID")]
    for host in found.hosts:
        power, network = "on" if host.powered else "off", "cut" if host.cut else "ok"
        ssh = "-" if found.ssh_config is None else "on" if host.ssh else "off"
        bmc, boot_id = _bmc_word(host), (host.boot_id or "-")[:_SHORT]
        rows.append((host.name, power, network, ssh, host.address, host.bmc_ip, bmc, boot_id))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    print(f"controller: {_controller_word(found)}")
    return 0


def _controller_word(found: Rack) -> str:
    try:
        controller = controllers.attach(found)
    except RackError:
        return "none was started"
    if controllers.is_running(controller):
        return f"process {controller.pid}, {controller.api.endpoint}"
    return f"does not run; `holdfast sandbox controller start{_where(found)}` starts it again"


def _ledger(directory: Path, vm: str, *, as_json: bool) -> int:
    disk, consoles = find_disk(directory, vm)
    judged = ledger.read(disk, consoles)
    print(judged.to_json() if as_json else "\n".join(_ledger_lines(vm, disk, judged)))
    return 0 if judged.ok else NOT_CLEAN


def _ledger_lines(vm: str, disk: Path, judged: Ledger) -> list[str]:
    lines = [f"VM {vm}, disk {disk}"]
    for writer in judged.writers:
        times = f"{_clock(writer.first_time)} - {_clock(writer.last_time)}"
        records = f"records {writer.first_seq}-{writer.last_seq}, {writer.acknowledged} acknowledged"
        lines.append(f"  boot {writer.boot}  {records}  {times}")
    lines += [f"  interrupted for {seconds:.1f} s" for seconds in judged.interruptions_s]
    lines += [f"  GAP: records {first}-{last} are missing" for first, last in judged.gaps]
    for overlap in judged.overlaps:
        one, other = overlap.boots
        lines.append(f"  OVERLAP: {one} and {other} both wrote in {overlap.first_seq}-{overlap.last_seq}")
    lines += _lost_lines(judged)
    lines += [f"  guest: {line}" for line in (*judged.alarms, *judged.remarks)]
    verdict = "one writer at any time, no acknowledged write lost" if judged.ok else "NOT CLEAN"
    return [*lines, f"{verdict} ({judged.acknowledged} acknowledged records checked)"]


def _lost_lines(judged: Ledger) -> list[str]:
    shown = [
        f"  LOST: record {lost.seq} of boot {lost.boot}, there is {lost.found or 'nothing'}" for lost in judged.lost
    ]
    return shown[:10] + ([f"  LOST: {len(shown) - 10} more"] if len(shown) > 10 else [])


def _clock(seconds: float) -> str:
    whole = time.strftime("%H:%M:%S", time.localtime(seconds))
    return f"{whole}.{int(seconds * 10 % 10)}"
