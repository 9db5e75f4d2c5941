"""The VMs of one test, one for each part to be played: they fail together and are recovered one by one.

A part is named after the operation of ``onevm recover`` that it is for.  States are OpenNebula's words: the LCM_STATE
of an ACTIVE VM, the STATE of any other.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from holdfast.model.vm_states import LcmState, VmState
from holdfast.sandbox import controller as controllers
from holdfast.sandbox.guest.template import GUEST_MEMORY_MB
from tests.e2e.daemon import BIN, until
from tests.e2e.stage import Stage

LIMIT_S = 120.0
"""For what a fleet does at once on a busy machine."""
OPERATIONS = ("failure", "success", "retry", "delete", "recreate", "delete-db")
"""By number."""
GUEST_CPU_PERCENT = 10


class Fleet:
    """VMs by the part they play."""

    def __init__(self, stage: Stage, prefix: str, parts: Iterable[str], more: str = "") -> None:
        self.stage = stage
        self.names = {part: f"{prefix}-{part}" for part in parts}
        self.ids = {part: self._allocate(name, more) for part, name in self.names.items()}

    def _allocate(self, name: str, more: str) -> int:
        text = f"{controllers.guest(self.stage.controller, name)}{more}\n"
        return int(str(self.stage.call("one.vm.allocate", text, True)))

    def deploy(self, host: str, *parts: str, ds_id: int = -1) -> None:
        """``onevm deploy`` of these, or of all."""
        for vm_id in self._chosen(parts):
            self.stage.call("one.vm.deploy", vm_id, self.stage.host_ids[host], False, ds_id, "")

    def migrate(self, host: str, *parts: str, ds_id: int = -1, kind: int = 0) -> None:
        """``onevm migrate`` of these, or of all; the kind matters to those that run: 0 saves, 1 powers off."""
        for vm_id in self._chosen(parts):
            self.stage.call("one.vm.migrate", vm_id, self.stage.host_ids[host], False, False, ds_id, kind)

    def act(self, action: str, *parts: str) -> None:
        """``one.vm.action`` for these, or for all."""
        for vm_id in self._chosen(parts):
            self.stage.call("one.vm.action", action, vm_id)

    def recover(self, operation: str, *parts: str) -> None:
        """``onevm recover`` of these, or of the one that is here for it."""
        for part in parts or (operation,):
            self.stage.call("one.vm.recover", self.ids[part], OPERATIONS.index(operation))

    def recover_all(self, operation: str) -> None:
        """The same as an operator does it, for the range of their numbers."""
        numbers = f"{min(self.ids.values())}..{max(self.ids.values())}"
        argv = [str(BIN / "onevm"), "recover", f"--{operation}", numbers]
        environment = {**os.environ, **self.stage.controller.environment}
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{argv}: {done.stdout} {done.stderr}"

    def _chosen(self, parts: Iterable[str]) -> list[int]:
        return [self.ids[part] for part in parts or self.ids]

    def state(self, part: str) -> str:
        """Where the VM is now."""
        state, lcm_state, _ = self.stage.vm_at(self.ids[part])
        return LcmState(int(lcm_state)).name if state == str(VmState.ACTIVE.value) else VmState(int(state)).name

    def states(self) -> dict[str, str]:
        """Where all are now."""
        return {part: self.state(part) for part in self.ids}

    def reach(self, state: str, *parts: str) -> None:
        """Returns when these, or all, are there."""
        chosen = parts or tuple(self.ids)

        def look() -> bool:
            return all(self.state(part) == state for part in chosen)

        try:
            until(look, LIMIT_S)
        except AssertionError:
            found = {part: (self.state(part), self.error(part)) for part in chosen}
            raise AssertionError(f"not {state} within {LIMIT_S:g} s: {found}") from None

    def error(self, part: str) -> str:
        """What the VM's template says went wrong."""
        return self.stage.xml("one.vm.info", self.ids[part]).findtext("USER_TEMPLATE/ERROR", "")

    def hosts(self, part: str) -> list[str]:
        """The hosts of the VM's records."""
        return self.stage.vm_at(self.ids[part])[2]

    def orders(self, part: str) -> int:
        """How many steps drivers were ordered to do for the VM."""
        return len(self.stage.orders(self.ids[part]))

    def fails_again(self, part: str, state: str) -> None:
        """``--retry`` while nothing is repaired: the step is really done again, and the VM is back where it was."""
        before = self.orders(part)
        self.recover("retry", part)
        until(lambda: self.orders(part) > before and self.state(part) == state, LIMIT_S, f"{part} back in {state}")

    def directory(self, part: str, ds_id: int = 0) -> Path:
        """Where the VM's files are on a system datastore."""
        return self.stage.rack.datastores_path / str(ds_id) / str(self.ids[part])

    def write(self, boots: Mapping[str, int]) -> None:
        """These guests go on writing, having begun so often; there was one writer at a time, and nothing was lost."""
        written = {part: self._written(part, count, 3) for part, count in boots.items()}
        for part, count in boots.items():
            self._written(part, count, written[part] + 3)

    def _written(self, part: str, boots: int, records: int) -> int:
        """How many records the newest boot has written, at least so many."""
        read = self.stage.wait_for_writer(self.names[part], boots, records, LIMIT_S)
        assert read.ok, f"{self.names[part]}: {read.to_json()}"
        return read.writers[-1].acknowledged

    def forget_console(self, part: str) -> None:
        """The VM gets a new disk, so what it printed before is another ledger's."""
        for path in self.stage.rack.directory.glob(f"consoles/{self.names[part]}.log*"):
            path.rename(path.with_name(f"{path.name}.before"))

    def forget(self) -> None:
        """``--delete-db``: no driver is told anything, so whatever there is stays behind."""
        unchanged(lambda: self.orders("delete-db"), lambda: self.recover("delete-db"))
        assert self.state("delete-db") == "DONE"

    def sweep(self, part: str = "delete-db") -> None:
        """An operator removes the files that stayed behind."""
        shutil.rmtree(self.directory(part))

    def check_settled(self, boots: Mapping[str, int], files: Iterable[str] = ()) -> None:
        """These run, having begun so often, and are all there is: no other VM, domain, capacity or file is left.

        ``files`` says what they have on the datastores when it is not a disk each on the first.
        """
        left = {part: state for part, state in self.states().items() if state != "DONE"}
        assert left == dict.fromkeys(boots, "RUNNING"), left
        self.write(boots)
        places = {part: self.hosts(part)[-1] for part in boots}
        for host in self.stage.host_ids:
            self.check_host(host, {self.ids[part] for part, place in places.items() if place == host})
        expected = set(files) or {f"0/{self.ids[part]}/disk.0" for part in boots}
        found = self.stage.files()
        assert found == expected, f"left: {found - expected}, missing: {expected - found}"

    def check_host(self, host: str, vm_ids: set[int], running: bool = True) -> None:
        """The host has these VMs, their capacity, and (if they run) their domains."""
        known = self.stage.host(host)
        listed = {int(found.text or "") for found in known.findall("VMS/ID")}
        assert listed == vm_ids, f"{host} has VMs {listed} instead of {vm_ids}"
        used = known.findtext("HOST_SHARE/CPU_USAGE"), known.findtext("HOST_SHARE/MEM_USAGE")
        expected = str(len(vm_ids) * GUEST_CPU_PERCENT), str(len(vm_ids) * GUEST_MEMORY_MB * 1024)
        assert used == expected, f"{host} is used by {used} instead of {expected}"
        domains = self.stage.domains(host)
        assert domains == ({f"one-{vm_id}" for vm_id in vm_ids} if running else set()), f"{host} has {domains}"


def unchanged(look: Callable[[], object], act: Callable[[], object]) -> None:
    """What is done changes nothing of what is seen."""
    before = look()
    act()
    after = look()
    assert after == before, f"{before} became {after}"
