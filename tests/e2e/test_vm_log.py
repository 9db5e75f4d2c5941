"""The log of a VM, and what a failure leaves, with the real controller and the real commands."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from tests.e2e.daemon import Daemon, until

LINE = re.compile(r"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4} \[Z0\]\[(VM|LCM|TrM|VMM)\]\[([IEWD])\]: (.*)")
ENDED = re.compile(r"(done|failed) (in|after) [\d.]+ s")


def told(daemon: Daemon, vm_id: int) -> list[str]:
    """The log without the dates, which must be there, and without times and directories."""
    text = (daemon.var / f"log/{vm_id}.log").read_text(encoding="utf-8").replace(str(daemon.directory), "")
    found = [LINE.fullmatch(line) for line in text.splitlines()]
    assert None not in found, text
    return [ENDED.sub(r"\1", f"[{one[1]}][{one[2]}] {one[3]}") for one in found if one]


def image(daemon: Daemon, megabytes: int = 1) -> Path:
    """A registered image, raw; its file."""
    source = daemon.directory / "disk.raw"
    source.write_bytes(os.urandom(megabytes << 20))
    daemon.api.call("one.image.allocate", f'NAME="disk"\nPATH="{source}"', 1, False)
    until(lambda: daemon.api.xml("one.image.info", 0).findtext("STATE") == "1", what="the image READY")
    return Path(daemon.api.xml("one.image.info", 0).findtext("SOURCE", ""))


def state(daemon: Daemon, vm_id: int) -> str:
    """STATE and LCM_STATE."""
    return "/".join(daemon.vm_at(vm_id)[:2])


@pytest.fixture
def host(daemon: Daemon) -> int:
    """A host whose VMs are dummies; their files are real."""
    return daemon.host("kvm1")


def test_the_log_tells_the_life_of_a_vm_across_a_crash_of_the_controller(daemon: Daemon, host: int) -> None:
    image(daemon)
    vm = int(daemon.api.call("one.vm.allocate", "NAME=web\nCPU=1\nMEMORY=64\nDISK=[IMAGE_ID=0]", True))
    daemon.api.call("one.vm.deploy", vm, host, False, -1, "")
    daemon.wait_for_vm(vm, host)
    until(lambda: "[VM][I] New LCM state is RUNNING" in told(daemon, vm))
    daemon.kill()
    daemon.start()
    daemon.api.call("one.vm.recover", vm, 3)
    until(lambda: state(daemon, vm) == "6/0", what="DONE")
    assert daemon.stop() == 0
    system = "/var/datastores/0/0"
    assert [line for line in told(daemon, vm) if "CLONE" not in line] == [
        "[VM][I] New state is ACTIVE",
        "[VM][I] New LCM state is PROLOG",
        "[VM][I] New LCM state is BOOT",
        "[VMM][I] Generating deployment file: /var/vms/0/deployment.0",
        "[VM][I] New LCM state is RUNNING",
        "[VM][I] New state is ACTIVE",
        "[VM][I] New LCM state is CLEANUP_DELETE",
        "[VMM][I] Host successfully cleaned.",
        f"[TrM][I] (1/2) DELETE shared kvm1:{system}/disk.0 0 1: done",
        f"[TrM][I] (2/2) DELETE shared kvm1:{system} 0 0: done",
        "[VM][I] New state is DONE",
        "[VM][I] New LCM state is LCM_INIT",
    ]
    (clone,) = [line for line in told(daemon, vm) if "CLONE" in line]
    assert clone.startswith("[TrM][I] (1/1) CLONE shared ")
    assert clone.endswith(f" kvm1:{system}/disk.0 0 1: done, 1 MiB copied")
    assert stat.S_IMODE((daemon.var / "log/0.log").stat().st_mode) == 0o600


def test_a_transfer_that_failed_leaves_its_reason_in_the_log_and_in_onevm_show(daemon: Daemon, host: int) -> None:
    source = image(daemon)
    source.unlink()
    vm = int(daemon.api.call("one.vm.allocate", "NAME=web\nCPU=1\nMEMORY=64\nDISK=[IMAGE_ID=0]", True))
    daemon.api.call("one.vm.deploy", vm, host, False, -1, "")
    until(lambda: state(daemon, vm) == "3/39", what="PROLOG_FAILURE")
    shown = daemon.done("onevm", "show", str(vm))
    (error,) = [line for line in shown.splitlines() if line.startswith("ERROR=")]
    reason = f"Error executing image transfer script: image {source} does not exist (line 1: CLONE shared "
    assert re.match(r'ERROR="\w{3} \w{3} [ \d]\d [\d:]{8} \d{4}: ' + re.escape(reason), error)
    reason = reason.replace(str(daemon.directory), "")
    until(lambda: told(daemon, vm)[-1] == "[VM][I] New LCM state is PROLOG_FAILURE")
    assert [line for line in told(daemon, vm) if line.startswith("[TrM][E]")][-1].startswith(f"[TrM][E] {reason}")

    source.write_bytes(bytes(1 << 20))
    daemon.done("onevm", "recover", "--retry", str(vm))
    daemon.wait_for_vm(vm, host)
    assert "ERROR=" not in daemon.done("onevm", "show", str(vm))


def test_logs_that_cannot_be_written_stop_nothing(daemon: Daemon, host: int) -> None:
    (daemon.var / "log/0.log").symlink_to("/dev/full")
    assert daemon.vm("web", host) == 0
    until(lambda: "log lines of VMs are lost" in daemon.log)
    assert daemon.log.count("log lines of VMs are lost") == 1
    (daemon.var / "log/0.log").unlink()
    daemon.api.call("one.vm.action", "poweroff", 0)
    until(lambda: "VM logs are written again" in daemon.log)
    assert "[VM][I] New LCM state is LCM_INIT" in until(lambda: told(daemon, 0))
