"""The sandbox is real: power failures kill guests, BMCs tell the truth, and the ledger sees what happened.

Guests are started here through libvirt directly, with no controller: what holds now holds whoever starts them.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from holdfast.sandbox import ledger, rack
from holdfast.sandbox.commands import SEARCH_PATH
from holdfast.sandbox.errors import RackDownError, RackError
from holdfast.sandbox.guest import make_ledger_image
from holdfast.sandbox.guest.image import cache_dir
from holdfast.sandbox.guest.template import serial_console
from holdfast.sandbox.ledger import Ledger
from holdfast.sandbox.rack import BmcMode, Rack, RackConfig, Storage

pytestmark = pytest.mark.rack
T = TypeVar("T")

START_GUEST = """
import libvirt, sys
uri, description = sys.argv[1:]
connection = libvirt.open(uri)
try:
    connection.createXML(description)
except libvirt.libvirtError as exc:
    sys.exit(str(exc))
"""


USER = 54321
AS_ORDINARY_USER = """
import os, subprocess, sys
from pathlib import Path
from holdfast.sandbox import rack
built = rack.start(rack.RackConfig(Path(sys.argv[1]), hosts=1, storage=rack.Storage.NBD))
print("up, user", os.getuid())
built.power_off("host1")
print("host1 off:", built.host("host1").powered)
built.power_on("host1")
print("host1 on:", built.host("host1").powered)
fence = f"action=status\\nip=10.77.1.1\\nusername=admin\\npassword={built.bmc_password}\\nlanplus=1\\ncipher=3\\n"
agent = built.enter_argv(["/usr/sbin/fence_ipmilan"])
done = subprocess.run(agent, input=fence, text=True, capture_output=True, timeout=20)
print("fenced:", done.returncode)
built.stop()
built = rack.start(rack.RackConfig(Path(sys.argv[1]), hosts=1, storage=rack.Storage.SSH))
login = built.enter_argv(["ssh", "-F", str(built.ssh_config), "host1", "hostname && touch datastores/file"])
print("by ssh:", subprocess.run(login, text=True, capture_output=True, timeout=20).stdout.strip())
print("wrote:", [path.name for path in built.host_datastores("host1").iterdir()])
built.stop()
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    """A short path on a real disk: sockets lie in it, and guests open their disks without the page cache."""
    scratch = Path(tempfile.mkdtemp(prefix="hf-", dir="/var/tmp"))
    yield scratch / "rack"
    rack.remove(scratch / "rack")
    scratch.rmdir()


def eventually(limit_s: float, look: Callable[[], T | None]) -> T:
    """The first answer that is not empty; fails the test when there is none in this time."""
    give_up_at = time.monotonic() + limit_s
    while time.monotonic() < give_up_at:
        answer = look()
        if answer:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"not within {limit_s} s: {look}")


def run(argv: list[str], limit_s: float = 30, text: str = "") -> subprocess.CompletedProcess[str]:
    path = os.environ | {"PATH": SEARCH_PATH}  # an ordinary user's lacks the fence agents
    return subprocess.run(argv, input=text, capture_output=True, text=True, timeout=limit_s, check=False, env=path)


def disk_of(built: Rack, vm_id: int) -> Path:
    return built.datastores_path / "0" / str(vm_id) / "disk.0"


def new_disk(built: Rack, vm_id: int, image_format: str = "raw") -> Path:
    disk = disk_of(built, vm_id)
    disk.parent.mkdir()
    make_ledger_image(disk, 16, image_format)
    return disk


def domain(built: Rack, vm_id: int, name: str, image_format: str = "raw") -> str:
    if built.config.storage is Storage.NBD:
        source = f"<source protocol='nbd' name='one-{vm_id}-disk-0'>"
        source += f"<host name='{built.controller_address}' port='10809'/><reconnect delay='10'/></source>"
        kind = "network"
    else:
        source, kind = f"<source file='{disk_of(built, vm_id)}'/>", "file"
    guest = built.guest
    return f"""<domain type='qemu'><name>one-{vm_id}</name><memory unit='MiB'>96</memory><vcpu>1</vcpu>
      <os><type arch='x86_64' machine='pc'>hvm</type><kernel>{guest.kernel}</kernel><initrd>{guest.initrd}</initrd>
        <cmdline>console=ttyS0 quiet panic=1 ha.name={name}</cmdline></os>
      <features><acpi/></features><on_poweroff>destroy</on_poweroff>
      <devices><disk type='{kind}' device='disk'><driver name='qemu' type='{image_format}' cache='none'/>
        {source}<target dev='vda' bus='virtio'/></disk></devices>
      {serial_console(built.console(name)).removeprefix("<devices>").join(["<devices>", ""])}</domain>"""


def start_guest(built: Rack, host: str, description: str) -> str:
    """Starts a guest on a host; what libvirt complains of, empty when it runs."""
    uri = built.host(host).libvirt_uri
    return run(built.enter_argv([sys.executable, "-c", START_GUEST, uri, description])).stderr.strip()


def processes(built: Rack, name: str) -> list[int]:
    """The processes of this program in the rack's network."""
    found = run(["pgrep", "-x", name[:15], "--ns", str(built.supervisor_pid), "--nslist", "net"])
    return [int(pid) for pid in found.stdout.split()]


def read_ledger(built: Rack, vm_id: int, name: str) -> Ledger:
    return ledger.read(disk_of(built, vm_id), [built.console(name)])


def wait_for_writers(built: Rack, vm_id: int, name: str, writers: int, records: int = 5) -> Ledger:
    """The ledger as soon as this many boots have written, the last of them this many records."""

    def look() -> Ledger | None:
        read = read_ledger(built, vm_id, name)
        return read if len(read.writers) == writers and read.writers[-1].acknowledged >= records else None

    return eventually(25, look)


def fence(built: Rack, host: str, action: str) -> subprocess.CompletedProcess[str]:
    found = built.host(host)
    options = {"action": action, "ip": found.bmc_ip, "ipport": found.bmc_port, "username": built.bmc_user}
    options |= {"password": built.bmc_password, "lanplus": 1, "cipher": 3, "power_wait": 0}
    text = "".join(f"{key}={value}\n" for key, value in options.items())
    return run(built.enter_argv(["fence_ipmilan"]), text=text)


def test_a_guest_outlives_its_host_with_one_writer_at_any_time_and_no_lost_write(directory: Path) -> None:
    built = rack.start(RackConfig(directory, hosts=2))
    new_disk(built, 7)
    description = domain(built, 7, "web")
    assert start_guest(built, "host1", description) == ""
    wait_for_writers(built, 7, "web", 1)
    assert 'Failed to get "write" lock' in start_guest(built, "host2", description)

    assert fence(built, "host1", "off").returncode == 0
    after = read_ledger(built, 7, "web").acknowledged
    assert not built.host("host1").powered
    assert fence(built, "host1", "status").returncode == 2
    assert fence(built, "host1", "off").returncode == 0, "already off is success"

    assert start_guest(built, "host2", description) == ""
    read = wait_for_writers(built, 7, "web", 2)
    first, second = read.writers
    assert first.acknowledged == after
    assert second.first_seq == first.last_seq + 1
    assert read.ok, read.to_json()

    before = built.host("host1").boot_id
    assert fence(built, "host1", "on").returncode == 0
    host = built.host("host1")
    assert host.boot_id not in (None, before)
    assert (host.directory / "boot_id").read_text(encoding="ascii").strip() == host.boot_id


def test_a_guest_started_twice_on_network_disks_is_caught_by_the_ledger(directory: Path) -> None:
    built = rack.start(RackConfig(directory, hosts=2, storage=Storage.NBD))
    new_disk(built, 8)
    description = domain(built, 8, "twin")
    for host in ("host1", "host2"):
        assert eventually(5, lambda host=host: start_guest(built, host, description) == "")  # type: ignore[misc]

    def damage() -> Ledger | None:
        read = read_ledger(built, 8, "twin")
        return read if read.overlaps and read.lost and read.alarms else None

    damaged = eventually(35, damage)
    assert not damaged.ok
    assert len(damaged.writers) == 2
    assert {lost.boot for lost in damaged.lost} <= {writer.boot for writer in damaged.writers}


def test_network_disks_come_and_go_with_their_files_and_outlive_the_storage_daemon(directory: Path) -> None:
    built = rack.start(RackConfig(directory, hosts=1, storage=Storage.NBD))
    look = built.enter_argv(["qemu-img", "info", f"nbd://{built.controller_address}:10809/one-8-disk-0"])
    assert run(look).returncode != 0
    image = built.datastores_path / "1" / "image"
    make_ledger_image(image, 16)
    disk = disk_of(built, 8)
    disk.parent.mkdir()
    disk.symlink_to(image)
    eventually(2, lambda: "16 MiB" in run(look).stdout)
    with image.open("r+b") as file:
        file.truncate(32 << 20)
    eventually(2, lambda: "32 MiB" in run(look).stdout)
    (daemon,) = processes(built, "qemu-storage-daemon")
    os.kill(daemon, signal.SIGKILL)
    eventually(5, lambda: "32 MiB" in run(look).stdout)
    disk.unlink()
    eventually(2, lambda: run(look).returncode != 0)


def test_a_host_cut_off_its_network_disks_hangs_and_goes_on_when_healed(directory: Path) -> None:
    built = rack.start(RackConfig(directory, hosts=1, storage=Storage.NBD))
    new_disk(built, 9)
    beat = built.enter_host_argv("host1", ["touch", str(built.heartbeat_path / "host1")])
    assert run(beat).returncode == 0
    assert eventually(5, lambda: start_guest(built, "host1", domain(built, 9, "cut")) == "")
    wait_for_writers(built, 9, "cut", 1)

    built.cut("host1")
    time.sleep(0.5)  # what was on its way arrives
    stuck = read_ledger(built, 9, "cut").acknowledged
    assert "Read-only file system" in run(beat).stderr
    time.sleep(1.5)
    assert read_ledger(built, 9, "cut").acknowledged <= stuck + 1

    built.heal("host1")
    assert run(beat).returncode == 0
    read = wait_for_writers(built, 9, "cut", 1, stuck + 5)
    assert read.ok, read.to_json()


def test_a_broken_bmc_is_dead_slow_or_lying_and_can_be_repaired(directory: Path) -> None:
    built = rack.start(RackConfig(directory, hosts=1))
    built.set_bmc("1", BmcMode.LYING)
    assert fence(built, "host1", "off").returncode == 0
    assert built.host("host1").powered, "a liar says off and does nothing"

    built.set_bmc("1", BmcMode.DEAD)
    password = built.directory / "bmc-password"
    ask = ["ipmitool", "-I", "lanplus", "-C", "3", "-N", "1", "-R", "1", "-H", built.host("1").bmc_ip, "-U", "admin"]
    power = built.enter_argv([*ask, "-f", str(password), "chassis", "power"])
    assert run([*power, "status"]).returncode != 0
    with pytest.raises(RackError, match="needs its delay"):
        built.set_bmc("1", BmcMode.SLOW)

    built.set_bmc("1", BmcMode.SLOW, 1.5)
    assert "Down/Off" in run([*power, "off"]).stdout
    assert "is on" in run([*power, "status"]).stdout
    eventually(5, lambda: "is off" in run([*power, "status"]).stdout)
    assert not built.host("host1").powered

    built.set_bmc("1", BmcMode.OK)
    assert run([*power, "on"]).returncode == 0
    assert built.host("host1").powered

    (simulator,) = processes(built, "ipmi_sim")
    os.kill(simulator, signal.SIGKILL)
    eventually(5, lambda: "is on" in run([*power, "status"]).stdout)


def test_the_password_of_the_bmcs_is_for_their_owner_only_and_on_no_command_line(directory: Path) -> None:
    built = rack.start(RackConfig(directory, hosts=1))
    secret = built.bmc_password.encode()
    holders = [path for path in directory.rglob("*") if path.is_file() and secret in path.read_bytes()]
    assert {path.name for path in holders} == {"bmc-password", "lan.conf"}
    assert [path.stat().st_mode & 0o077 for path in holders] == [0, 0]
    lines = run(built.enter_host_argv("host1", ["true"])).args, run(["ps", "-eo", "args"]).stdout
    assert built.bmc_password not in str(lines)


def test_whatever_dies_a_rack_can_be_ended_and_built_again(directory: Path) -> None:
    built = rack.start(RackConfig(directory, hosts=1))
    with pytest.raises(RackError, match=f"already up.*sandbox status --dir {directory}` shows it"):
        rack.start(RackConfig(directory, hosts=1))
    inside = built.enter_argv(["true"])
    assert run(inside).returncode == 0
    os.kill(built.supervisor_pid, signal.SIGKILL)
    eventually(5, lambda: run(inside).returncode != 0)
    with pytest.raises(RackDownError, match="no rack is up"):
        rack.attach(directory)

    again = rack.start(RackConfig(directory, hosts=1))
    tied = subprocess.Popen(again.enter_argv(["sleep", "60"], tied=True))
    assert [host.powered for host in again.hosts] == [True]
    other = rack.start(RackConfig(directory.with_name("other"), hosts=1))
    again.stop(keep_files=True)
    assert tied.wait(5) != 0
    assert other.hosts[0].powered, "two racks do not know of each other"
    assert (directory / "supervisor.log").exists()
    assert rack.remove(directory)
    assert not rack.remove(directory), "a second time there is nothing to do"

    shutil.rmtree(other.directory)
    eventually(5, lambda: not Path(f"/proc/{other.supervisor_pid}/ns/net").exists())


def test_an_ordinary_user_can_have_a_rack(directory: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("all the other tests just did it")
    home = directory.parent / "home"
    ordinary = [
        "setpriv",
        f"--reuid={USER}",
        f"--regid={USER}",
        "--clear-groups",
        "env",
        f"HOME={home}",
        "XDG_CACHE_HOME=",
    ]
    python = [*ordinary, f"PYTHONPATH={Path(rack.__file__).parents[2]}", sys.executable]
    if run([*python, "-c", "import holdfast.sandbox.rack"]).returncode != 0:
        pytest.skip("this checkout can be read by its owner only")
    shutil.copytree(cache_dir(), home / ".cache" / "holdfast")
    for path in (directory.parent, home, *home.rglob("*")):
        os.chown(path, USER, USER)
    done = run([*python, "-c", AS_ORDINARY_USER, str(directory)], limit_s=60)
    shutil.rmtree(home)
    said = ["up, user 54321", "host1 off: False", "host1 on: True", "fenced: 0", "by ssh: host1", "wrote: ['file']"]
    assert done.stdout.splitlines() == said, done.stderr


def by_ssh(built: Rack, host: str, *words: str) -> list[str]:
    """The command line that runs these words on a host by ssh, from where the controller is."""
    return built.enter_argv(["ssh", "-F", str(built.ssh_config), *words[:-1], host, words[-1]])


def test_hosts_that_are_reached_by_ssh_share_no_files(directory: Path) -> None:
    built = rack.start(RackConfig(directory, hosts=2, storage=Storage.SSH))
    disk = built.datastores_path / "disk"
    assert run(by_ssh(built, "host1", f"hostname; umask 022; echo one > {disk}")).stdout == "host1\n"
    assert (built.host_datastores("host1") / "disk").read_text(encoding="ascii") == "one\n"
    assert not disk.exists(), "the controller's own datastores are others"
    look = by_ssh(built, "host2", f"ls {directory}; ls {directory}/hosts {directory}/datastores")
    own = ["consoles", "datastores", "hosts", f"{directory}/datastores:", f"{directory}/hosts:", "host2"]
    assert run(look).stdout.split() == own
    wrong = run(by_ssh(built, "host1", "-o", f"HostName={built.host('host2').address}", "true"))
    assert "Host key verification failed" in wrong.stderr
    assert run(by_ssh(built, "host1", "-o", "PubkeyAuthentication=no", "true")).returncode == 255


def test_a_hosts_ssh_server_ends_with_its_connections_and_with_its_power(directory: Path) -> None:
    built = rack.start(RackConfig(directory, hosts=2, storage=Storage.SSH))
    session = subprocess.Popen(by_ssh(built, "host1", "echo here; exec sleep 60"), stdout=subprocess.PIPE)
    assert session.stdout
    assert session.stdout.readline() == b"here\n"
    built.switch_ssh("host1", on=False)
    assert session.wait(5) == 255
    session.stdout.close()
    assert run(built.enter_host_argv("host1", ["pgrep", "-x", "sshd|sleep"])).stdout == ""
    assert "Connection refused" in run(by_ssh(built, "host1", "true")).stderr
    assert [host.ssh for host in built.hosts] == [False, True]

    built.power_off("host1")
    built.power_on("host1")
    assert "Connection refused" in run(by_ssh(built, "host1", "true")).stderr
    built.switch_ssh("host1", on=True)
    assert run(by_ssh(built, "host1", "true")).returncode == 0

    built.power_off("host2")
    assert run(by_ssh(built, "host2", "-o", "ConnectTimeout=1", "true")).returncode == 255
    assert run(by_ssh(built, "host1", "true")).returncode == 0


def test_a_rack_without_ssh_servers_says_how_to_get_them(directory: Path) -> None:
    built = rack.start(RackConfig(directory, hosts=1))
    with pytest.raises(RackError, match="up --ssh"):
        built.switch_ssh("host1", on=False)


def test_the_agent_runs_on_its_host_while_its_configuration_is_there(directory: Path) -> None:
    built = rack.start(RackConfig(directory, hosts=1))
    host = built.host("host1")
    running = built.enter_host_argv("host1", ["pgrep", "-f", "holdfast.agent"])
    assert run(running).returncode == 1
    (host.directory / "agent.json").write_text("{}", encoding="utf-8")
    log = host.directory / "agent.log"
    eventually(10, lambda: log.exists() and log.read_text(encoding="utf-8").count("agent.json") >= 2)
    (host.directory / "agent.json").unlink()
    eventually(10, lambda: run(running).returncode == 1)
