"""A controller for the rack: ``holdfast serve`` in the rack's network, with the rack's hosts registered.

Beacons, libvirt and BMCs are reached over the rack's network like in a real one; the API listens on loopback outside,
through a socket that is opened here and inherited.  Everything of the controller is under ``<rack>/controller``.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from holdfast.model.beacon import host_key
from holdfast.sandbox.api import Api
from holdfast.sandbox.commands import environment
from holdfast.sandbox.errors import RackError
from holdfast.sandbox.guest.template import guest_template, make_ledger_image
from holdfast.sandbox.layout import IMAGE_DATASTORE, SYSTEM_DATASTORE
from holdfast.sandbox.rack import Host, Rack, Storage

BEACON_PORT = 4124
INSIDE = "127.0.0.1:2633"
"""Where hooks, which run in the rack's network like the controller, reach the API."""
READY_LIMIT_S = 20.0
STOP_LIMIT_S = 10.0
HOST_CPU = 400
HOST_MEMORY_KB = 4 * 1024 * 1024
NBD_PORT = 10809
IMAGE_SIZE_MB = 16


@dataclass(frozen=True)
class Controller:
    """A controller that runs for a rack."""

    rack: Rack
    api: Api
    pid: int

    @property
    def environment(self) -> dict[str, str]:
        """What the one* commands need in order to talk to it."""
        return {"ONE_XMLRPC": self.api.endpoint, "ONE_AUTH": str(self.api.auth_path)}

    @property
    def log(self) -> Path:
        """What it has to say."""
        return _folder(self.rack.directory) / "controller.log"


def _folder(directory: Path) -> Path:
    return directory / "controller"


def start(rack: Rack) -> Controller:
    """Starts the controller and registers the rack: hosts, datastore, image, agents."""
    controller = launch(rack, _free_socket())
    _register_storage(controller)
    for host in rack.hosts:
        _register_host(controller, host)
    _wait_for_hosts(controller)
    return controller


def _free_socket(port: int = 0) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    ends = time.monotonic() + STOP_LIMIT_S
    while True:  # a killed controller's last threads may hold the port for a moment
        try:
            listening.bind(("127.0.0.1", port))
            listening.listen(1024)
            return listening
        except OSError:
            if not port or time.monotonic() > ends:
                raise
            time.sleep(0.05)


def launch(rack: Rack, listening: socket.socket) -> Controller:
    """Starts ``holdfast serve`` on this listening socket and waits until it answers."""
    folder = _folder(rack.directory)
    folder.mkdir(mode=0o700, exist_ok=True)
    port = listening.getsockname()[1]
    with listening, (folder / "controller.log").open("ab") as log:
        process = subprocess.Popen(
            rack.enter_argv(_serve_argv(rack, folder, listening.fileno())),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment(),
            pass_fds=[listening.fileno()],
            start_new_session=True,
        )
    api = Api(f"http://127.0.0.1:{port}/RPC2", folder / ".one" / "one_auth")
    _write_state(folder, process.pid, port)
    _wait_ready(process, api, folder)
    process.returncode = 0  # it is left running on purpose
    return Controller(rack, api, process.pid)


def _serve_argv(rack: Rack, folder: Path, descriptor: int) -> list[str]:
    config = folder / "holdfast.toml"
    config.write_text(f'ssh_config = "{rack.ssh_config}"\n' if rack.ssh_config else "", encoding="utf-8")
    return [
        *(sys.executable, "-m", "holdfast", "serve", "--config", str(config)),
        *("--var", str(folder)),
        *("--listen", INSIDE, "--listen", f"fd://{descriptor}"),
        *("--beacons", f"{rack.controller_address}:{BEACON_PORT}"),
        *("--datastores", str(rack.datastores_path)),
        *("--heartbeats", str(rack.heartbeat_path)),
        *("--accelerator", "tcg"),
    ]


def _write_state(folder: Path, pid: int, port: int) -> None:
    (folder / "process.json").write_text(json.dumps({"pid": pid, "port": port}), encoding="ascii")


def _wait_ready(process: subprocess.Popen[bytes], api: Api, folder: Path) -> None:
    ends = time.monotonic() + READY_LIMIT_S
    while True:
        try:
            api.call("one.system.version")
            return
        except (RackError, OSError) as error:
            if process.poll() is not None:
                raise RackError(f"the controller ended: {_last_words(folder)}") from None
            if time.monotonic() > ends:
                _end(process.pid)
                raise RackError(f"the controller is not ready after {READY_LIMIT_S:g} s: {error}") from None
        time.sleep(0.05)


def _last_words(folder: Path) -> str:
    lines = (folder / "controller.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def attach(rack: Rack) -> Controller:
    """The controller that runs for this rack."""
    folder = _folder(rack.directory)
    try:
        state = json.loads((folder / "process.json").read_text(encoding="ascii"))
    except (OSError, ValueError):
        raise RackError(f"no controller was started for the rack in {rack.directory}") from None
    return Controller(rack, Api(f"http://127.0.0.1:{state['port']}/RPC2", folder / ".one" / "one_auth"), state["pid"])


def is_running(controller: Controller) -> bool:
    """Whether it lives; one that was killed leaves its process id and port behind."""
    return _is_ours(controller.pid, controller.rack.directory)


def restart(controller: Controller) -> Controller:
    """Starts a controller again that was killed, on the same port and with the same store."""
    port = int(controller.api.endpoint.rsplit(":", 1)[1].split("/")[0])
    try:
        return launch(controller.rack, _free_socket(port))
    except OSError as error:
        raise RackError(f"the controller's port {port} cannot be had again: {error.strerror}") from None


def kill(controller: Controller) -> None:
    """Kills the controller as a crash would: SIGKILL."""
    _end(controller.pid, signal.SIGKILL)


def stop(directory: Path) -> None:
    """Ends the controller of the rack in this directory, if there is one."""
    try:
        state = json.loads((_folder(directory) / "process.json").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return
    if _is_ours(int(state["pid"]), directory):
        _end(int(state["pid"]))


def _is_ours(pid: int, directory: Path) -> bool:
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return str(_folder(directory)).encode() in words
    return False


def _end(pid: int, number: int = signal.SIGTERM) -> None:
    ends = time.monotonic() + STOP_LIMIT_S
    with suppress(ProcessLookupError):
        os.kill(pid, number)
        while _lives(pid):
            if time.monotonic() > ends:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)


def _lives(pid: int) -> bool:
    with suppress(ChildProcessError):
        if os.waitpid(pid, os.WNOHANG)[0]:
            return False
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()[0] != "Z"
        )
    except OSError:
        return False


def _register_storage(controller: Controller) -> None:
    rack = controller.rack
    images = IMAGE_DATASTORE
    if rack.config.storage is Storage.NBD:
        nbd_server = f'NBD_SERVER="{rack.controller_address}:{NBD_PORT}"'
        controller.api.call("one.datastore.update", SYSTEM_DATASTORE, nbd_server, 1)
    elif rack.config.storage is Storage.SSH:
        images = _register_copied_storage(controller.api)
    path = rack.directory / "ledger.raw"
    make_ledger_image(path, IMAGE_SIZE_MB)
    text = f'NAME="ledger"\nPATH="{path}"\nTYPE="DATABLOCK"\nFORMAT="raw"'
    image_id = controller.api.call("one.image.allocate", text, images)
    ends = time.monotonic() + READY_LIMIT_S
    while True:
        image = controller.api.xml("one.image.info", image_id)
        if image.findtext("STATE") == "1":
            return
        if image.findtext("STATE") == "5" or time.monotonic() > ends:
            raise RackError(f"the image does not become ready: {image.findtext('TEMPLATE/ERROR') or 'no reason given'}")
        time.sleep(0.05)


def _register_copied_storage(api: Api) -> int:
    """The datastores of hosts that share nothing take the place of the shared ones; the ID of that for images."""
    api.call("one.datastore.enable", SYSTEM_DATASTORE, False)
    api.call("one.datastore.allocate", 'NAME="ssh_system"\nTYPE="SYSTEM_DS"\nTM_MAD="ssh"', -1)
    return int(api.call("one.datastore.allocate", 'NAME="ssh_images"\nTYPE="IMAGE_DS"\nDS_MAD="fs"\nTM_MAD="ssh"', -1))


def _register_host(controller: Controller, host: Host) -> None:
    host_id = controller.api.call("one.host.allocate", host.name, "qemu", "qemu", -1)
    attributes = {
        "LIBVIRT_URI": host.libvirt_uri,
        "FENCE_AGENT": "fence_ipmilan",
        "FENCE_IP": host.bmc_ip,
        "FENCE_PORT": str(host.bmc_port),
        "FENCE_USERNAME": controller.rack.bmc_user,
        "FENCE_PASSWORD": controller.rack.bmc_password,
        "FENCE_TIMEOUT": "10",
    }
    text = "\n".join(f'{name}="{value}"' for name, value in attributes.items())
    controller.api.call("one.host.update", host_id, text, 1)
    _configure_agent(controller, host, host_id)


def _configure_agent(controller: Controller, host: Host, host_id: int) -> None:
    """Hands the host's agent its key: from here on its beacons count."""
    rack = controller.rack
    key = host_key((_folder(rack.directory) / "agent_master.key").read_bytes(), host_id)
    config = {
        "host_id": host_id,
        "name": host.name,
        "key": key.hex(),
        "controllers": [f"{rack.controller_address}:{BEACON_PORT}"],
        "heartbeat_file": str(rack.heartbeat_path / str(host_id)) if rack.config.storage is not Storage.SSH else None,
        "hypervisor": "qemu",
        "libvirt_socket": "/run/host/run/libvirt/libvirt-sock",
        "total_cpu": HOST_CPU,
        "total_memory_kb": HOST_MEMORY_KB,
    }
    draft = host.directory / "agent.json.draft"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        json.dump(config, file)
    draft.replace(host.directory / "agent.json")


def _wait_for_hosts(controller: Controller) -> None:
    ends = time.monotonic() + READY_LIMIT_S
    while True:
        hosts = controller.api.xml("one.hostpool.info").findall("HOST")
        missing = [host.findtext("NAME", "?") for host in hosts if host.findtext("STATE") != "2"]
        if not missing:
            return
        if time.monotonic() > ends:
            raise RackError(f"the controller does not hear {', '.join(missing)}: see {controller.log}")
        time.sleep(0.05)


def guest(controller: Controller, name: str, period_ms: int = 200) -> str:
    """The template of a VM that keeps a ledger on the image ``ledger``."""
    images = controller.api.xml("one.imagepool.info", -2, -1, -1).findall("IMAGE")
    image_id = next(int(image.findtext("ID", "")) for image in images if image.findtext("NAME") == "ledger")
    return guest_template(name, controller.rack, image_id=image_id, period_ms=period_ms)


def exports(controller: Controller) -> list[str]:
    """The lines for a shell that make the one* commands talk to it."""
    return [f"  export {name}={value}" for name, value in controller.environment.items()]


def after_up(rack: Rack) -> list[str]:
    """For ``holdfast sandbox up``: starts the controller and says how to talk to it."""
    controller = start(rack)
    sample = rack.directory / "guest.one"
    sample.write_text(guest(controller, "guest1"), encoding="utf-8")
    return [
        f"a controller runs for them, log: {controller.log}",
        "next:",
        *exports(controller),
        "  onehost list",
        f"  onevm create {sample}     a guest that writes to its disk",
        f"  holdfast sandbox ledger guest1 --dir {rack.directory}",
    ]


def before_down(directory: Path) -> None:
    """For ``holdfast sandbox down``: ends the controller."""
    stop(directory)
