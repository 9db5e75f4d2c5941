"""A host dies with the only files of a VM: nothing is asked of it, the VM says why it stays, and comes back with it.

The VM has a CONTEXT, whose CD-ROM goes where the VM goes.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element

import pytest

from holdfast.sandbox.guest import guest_template
from holdfast.sandbox.rack import Storage
from tests.e2e.daemon import until
from tests.e2e.stage import Stage, rack_with_controller
from tests.e2e.test_rack_failovers import HOOK
from tests.e2e.test_rack_own_storage import RUNNING, STEP_LIMIT_S, datastore, ledger_image

pytestmark = pytest.mark.rack
CONTEXT = 'CONTEXT = [ NETWORK = "YES", SET_HOSTNAME = "it\'s me", TARGET = "hdc" ]\n'


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """A rack of two hosts that share nothing, with a controller."""
    with rack_with_controller(hosts=2, storage=Storage.SSH) as built:
        built.call("one.hook.allocate", HOOK)
        yield built
        built.end_all_guests()


def allocated(stage: Stage, name: str) -> int:
    """A ledger guest with a CONTEXT."""
    image_id = ledger_image(stage, name, "raw")
    text = guest_template(name, stage.rack, image_id=image_id) + CONTEXT
    return int(str(stage.call("one.vm.allocate", text, True)))


def reach(stage: Stage, vm_id: int, state: tuple[str, str]) -> None:
    """Waits until the VM is there."""
    until(lambda: stage.vm_at(vm_id)[:2] == state, STEP_LIMIT_S, f"VM {vm_id} in state {state}")


def runs_on(stage: Stage, vm_id: int, host: str) -> bool:
    """The VM is RUNNING there."""
    *state, hosts = stage.vm_at(vm_id)
    return tuple(state) == RUNNING and hosts[-1] == host


def findings(stage: Stage) -> list[Element]:
    """What ``holdfast check storage`` finds."""
    return stage.xml("one.storage.check").findall("FINDINGS/FINDING")


def disc(stage: Stage, host: str, vm_id: int) -> bytes:
    """The CD-ROM that the VM's domain has on this host."""
    system = datastore(stage, "ssh_system")
    listed = stage.virsh(host, "domblklist", f"one-{vm_id}", "--details").split()
    assert listed[listed.index("cdrom") + 1] == "hdc"
    assert listed[listed.index("cdrom") + 2].endswith(f"/{system}/{vm_id}/disk.1")
    return (stage.rack.host_datastores(host) / str(system) / str(vm_id) / "disk.1").read_bytes()


def test_a_vm_stays_with_its_files_until_its_host_is_back_or_is_made_anew(stage: Stage) -> None:
    vm_id = allocated(stage, "home")
    stage.call("one.vm.deploy", vm_id, stage.host_ids["host1"], False, -1, "")
    reach(stage, vm_id, RUNNING)
    assert b"SET_HOSTNAME='it'\\''s me'\n" in disc(stage, "host1", vm_id)
    stage.call("one.vm.migrate", vm_id, stage.host_ids["host2"], False, False, -1, 0)
    until(lambda: runs_on(stage, vm_id, "host2"), STEP_LIMIT_S, "the VM on host2")
    made = disc(stage, "host2", vm_id)
    assert stage.wait_for_writer("home", 1).ok
    before = stage.orders(vm_id)

    stage.rack.power_off("host2")
    found = stage.wait_for_failover("host2", "DONE")
    failover = stage.xml("one.failover.info", int(found.findtext("ID", "-1")))
    reason = failover.findtext("VMS/VM/REASON", "")
    assert reason.startswith("its disks are on host2 alone: datastore "), reason
    info = stage.xml("one.vm.info", vm_id)
    assert reason in info.findtext("USER_TEMPLATE/ERROR", "")
    assert stage.vm_at(vm_id)[:2] == ("3", "16")
    assert stage.orders(vm_id) == before

    stage.restore("host2")
    stage.call("one.vm.action", "resume", vm_id)
    reach(stage, vm_id, RUNNING)
    assert disc(stage, "host2", vm_id) == made
    assert stage.wait_for_writer("home", 2).ok

    stage.rack.power_off("host2")
    until(lambda: len(stage.failovers("host2")) == 2, STEP_LIMIT_S, "the second failover")
    stage.wait_for_failover("host2", "DONE")
    stage.call("one.vm.recover", vm_id, 4)
    until(lambda: runs_on(stage, vm_id, "host1"), STEP_LIMIT_S, "the VM on host1")
    assert disc(stage, "host1", vm_id) == made
    stage.restore("host2")
    left = [(each.findtext("HOST"), each.findtext("REASON")) for each in findings(stage)]
    assert left == [("host2", "the VM's files are on host1: this is an old copy, or the same storage seen from here")]
