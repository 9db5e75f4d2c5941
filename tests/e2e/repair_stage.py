"""A VM on real storage whose move to another datastore fails, because that datastore's storage is not mounted."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from xml.etree.ElementTree import Element

from holdfast.model.vm_states import LcmState
from tests.e2e.daemon import BIN, Daemon, until
from tests.e2e.dialogue import Dialogue, Terminal

FAILURE = ("3", str(LcmState.PROLOG_MIGRATE_POWEROFF_FAILURE.value))
FAILURES = (FAILURE[1], str(LcmState.PROLOG_MIGRATE_FAILURE.value))
POWEROFF = "8"
GATED = """#!/bin/bash
# waits until it may go on; each run is a line of the file "runs"
echo "$*" >> "$(dirname "$0")/runs"
echo "INFO: mv: Moving stuff" >&2
while ! [ -e "$(dirname "$0")/open" ]; do sleep 0.05; done
exit 0
"""


class RepairStage:
    """A controller with two dummy hosts, a second system datastore (100) behind a link, and an image."""

    def __init__(self, base: Path) -> None:
        self.daemon = Daemon(base / "controller")
        self.base = base
        self.mount = base / "mnt"
        self.gate = self.daemon.var / "remotes" / "tm" / "gated"
        self.gate.mkdir(parents=True)
        (self.gate / "mv").write_text(GATED)
        (self.gate / "mv").chmod(0o755)
        self.daemon.start()
        assert [self.daemon.host("here"), self.daemon.host("there")] == [0, 1]
        self.datastores = self.daemon.var / "datastores"
        template = 'NAME="second"\nTYPE="SYSTEM_DS"\nTM_MAD="shared"'
        assert int(self.daemon.api.call("one.datastore.allocate", template, -1)) == 100
        self.mount.mkdir()
        (self.datastores / "100").symlink_to(self.mount)
        content = base / "content"
        content.write_bytes(os.urandom(1 << 20))
        self.checksum = _checksum(content)
        image = f'NAME="image"\nTYPE="OS"\nFORMAT="raw"\nPATH="{content}"\nDEV_PREFIX="vd"'
        oid = int(self.daemon.api.call("one.image.allocate", image, 1, False))
        until(lambda: self.daemon.api.xml("one.image.info", oid).findtext("STATE") == "1", what="the image")

    def close(self) -> None:
        """Ends everything."""
        (self.gate / "open").touch()
        self.daemon.close()

    def unmount(self) -> None:
        """The second datastore's storage goes away."""
        self.mount.rename(self.base / "unmounted")

    def remount(self) -> None:
        """And comes back."""
        (self.base / "unmounted").rename(self.mount)

    def running_vm(self) -> int:
        """A VM with a disk, on host 0 and datastore 0."""
        text = 'NAME="web"\nCPU="0.1"\nMEMORY="64"\nDISK=[IMAGE_ID="0"]'
        vm_id = int(self.daemon.api.call("one.vm.allocate", text, True))
        self.daemon.api.call("one.vm.deploy", vm_id, 0, False, 0, "")
        self.daemon.wait_for_vm(vm_id, 0)
        return vm_id

    def wait_for_failure(self, vm_id: int) -> None:
        """Returns when the VM's move has failed."""
        until(lambda: self.daemon.vm_at(vm_id)[1] in FAILURES, what=f"the failure: {self.daemon.vm_at(vm_id)}")

    def shell(self, command: str) -> str:
        """What a command line prints."""
        environment = {**self.environment, "PATH": f"{BIN}:{os.environ['PATH']}"}
        return subprocess.run(
            ["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=60, check=True
        ).stdout

    def stuck_vm(self) -> int:
        """A powered-off VM whose move to host 1 and datastore 100 has failed."""
        vm_id = self.running_vm()
        self.daemon.api.call("one.vm.action", "poweroff-hard", vm_id)
        until(lambda: self.daemon.vm_at(vm_id)[0] == POWEROFF, what="POWEROFF")
        self.unmount()
        self.daemon.api.call("one.vm.migrate", vm_id, 1, False, False, 100, 0)
        self.wait_for_failure(vm_id)
        return vm_id

    def lines(self, vm_id: int) -> list[str]:
        """Its transfer file."""
        return self.file(vm_id).read_text().splitlines()

    def file(self, vm_id: int) -> Path:
        """Where that is."""
        return self.daemon.var / "vms" / str(vm_id) / "transfer.1.migrate"

    def gated(self, vm_id: int) -> int:
        """The file is edited by hand: its first line waits until the gate is opened.  Answers the number of runs."""
        (self.gate / "open").unlink(missing_ok=True)
        (self.gate / "runs").unlink(missing_ok=True)
        self.file(vm_id).write_text("\n".join(["MV gated here:/a there:/b 0 100", *self.lines(vm_id)[1:]]) + "\n")
        return 0

    def runs(self) -> int:
        """How many times the gated line was begun."""
        runs = self.gate / "runs"
        return len(runs.read_text().splitlines()) if runs.exists() else 0

    def open_gate(self) -> None:
        """The gated line may end."""
        (self.gate / "open").touch()

    def disk_is_whole(self, vm_id: int) -> bool:
        """The disk lies on the second datastore alone, and is what it was."""
        moved = self.mount / str(vm_id) / "disk.0"
        return _checksum(moved) == self.checksum and not (self.datastores / "0" / str(vm_id)).exists()

    def repair(self, vm_id: int) -> Element:
        """The repair as the API shows it."""
        return self.daemon.api.xml("one.vm.repairinfo", vm_id)

    def records(self, vm_id: int) -> list[tuple[str, str, str]]:
        """Deed, line and result of its records."""
        records = self.repair(vm_id).findall("RECORDS/RECORD")
        return [tuple(record.findtext(name, "") for name in ("DEED", "ACTION", "RESULT")) for record in records]  # type: ignore[misc]

    def dialogue(self, terminal: Terminal, vm_id: int, *more: str) -> Dialogue:
        """Begins the dialogue on a terminal."""
        return terminal.start([*self.command, str(vm_id), *more], self.environment)

    @property
    def command(self) -> list[str]:
        """Without the VM."""
        return [str(BIN / "onevm"), "recover", "--retry", "--interactive"]

    @property
    def environment(self) -> dict[str, str]:
        """Of whoever repairs."""
        person = {"HOME": str(self.base), "LOGNAME": "anna", "LANG": "C.UTF-8", "TERM": "xterm"}
        server = {"ONE_XMLRPC": self.daemon.endpoint, "ONE_AUTH": str(self.daemon.auth_path)}
        return {"PATH": os.environ["PATH"], **person, **server}


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
