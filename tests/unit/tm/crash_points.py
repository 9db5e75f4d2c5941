"""Kills a controller before each single change it makes to the storage; ``test_crash_points.py`` runs it.

``python -m tests.unit.tm.crash_points SCENARIO DIRECTORY``: a child carries out one step and dies by SIGKILL before the
first, second, third … system call that changes something, or program that it starts.  After each death the disk must be
as before or as wanted, and what the probe says, or else the step done again, must lead to the end that was wanted.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.snapshot import DiskSnapshots
from holdfast.model.vm import Vm
from tests.unit.tm.site import Site
from tests.unit.vmm.objects import a_stay, an_order, elsewhere

K = EffectKind
OK = Answer(ok=True)
CHANGES = ("os.rename", "os.link", "os.symlink", "os.mkdir", "os.remove", "os.rmdir", "subprocess.Popen")
CLONED, PERSISTENT = "CLONE=YES, SAVE=NO", "CLONE=NO, SAVE=YES, PERSISTENT=YES"
MOST_POINTS = 60
OLD, NEW = "0x11", "0x22"


@dataclass(frozen=True)
class Scenario:
    """One step: what it starts from, what must hold at every moment, what must hold in the end."""

    kind: EffectKind
    args: dict[str, Any]
    prepare: Callable[[Site], Vm]
    always: Callable[[Site], bool]
    finally_: Callable[[Site], bool]


def disk(site: Site, number: int = 0) -> Path:
    return site.directory / f"disk.{number}"


def started(image_format: str, kind: str = CLONED) -> Callable[[Site], Vm]:
    """A VM whose disk holds OLD."""

    def prepare(site: Site) -> Vm:
        vm = site.vm(site.disk(site.image("aaa", image_format), image_format, kind))
        assert site.run(K.TM_PROLOG, vm) == OK
        site.write(disk(site), image_format, OLD)
        return vm

    return prepare


def snapshotted(image_format: str, kind: str = CLONED, last: int = 0) -> Callable[[Site], Vm]:
    """Snapshots up to ``last`` hold OLD, the disk holds NEW."""

    def prepare(site: Site) -> Vm:
        vm = started(image_format, kind)(site)
        for number in range(last + 1):
            assert site.run(K.TM_SNAPSHOT_CREATE, vm, DISK_ID=0, ITEM=number) == OK
        site.write(disk(site), image_format, NEW)
        return replace(vm, snapshots=(DiskSnapshots(0, next_oid=last + 1),))

    return prepare


def back_at_the_first(image_format: str) -> Callable[[Site], Vm]:
    """Snapshots 0 and 1; the disk is based on 0 again and holds NEW."""

    def prepare(site: Site) -> Vm:
        vm = snapshotted(image_format, last=1)(site)
        assert site.run(K.TM_SNAPSHOT_REVERT, vm, DISK_ID=0, ITEM=0) == OK
        site.write(disk(site), image_format, NEW)
        return vm

    return prepare


def attaching(image_format: str, kind: str) -> Callable[[Site], Vm]:
    """A disk 2 to come, of an image that holds OLD."""

    def prepare(site: Site) -> Vm:
        return site.vm(site.disk(site.image("aaa", image_format, pattern=OLD), image_format, kind, disk_id=2))

    return prepare


def once_more(image_format: str) -> Callable[[Site], Vm]:
    """A disk 2 that is left from an earlier life of the VM, with snapshots, and holds NEW."""

    def prepare(site: Site) -> Vm:
        vm = attaching(image_format, CLONED)(site)
        assert site.run(K.TM_PROLOG, vm) == OK
        assert site.run(K.TM_SNAPSHOT_CREATE, vm, DISK_ID=2, ITEM=0) == OK
        site.write(disk(site, 2), image_format, NEW)
        return vm

    return prepare


def moving(site: Site) -> Vm:
    """From datastore 0 to datastore 100, on a file system of its own."""
    vm = snapshotted("qcow2")(site)
    other = Path(os.environ["OTHER_FILE_SYSTEM"])
    shutil.rmtree(other, ignore_errors=True)
    other.mkdir()
    (site.root / "100").rmdir()
    (site.root / "100").symlink_to(other)
    return elsewhere(vm, a_stay(1, 0), a_stay(2, 1, ds_id=100))


def holds(image_format: str, *patterns: str, number: int = 0) -> Callable[[Site], bool]:
    """The disk is whole and holds one of these."""
    return lambda site: any(site.holds(disk(site, number), image_format, pattern) for pattern in patterns)


def absent_or(image_format: str) -> Callable[[Site], bool]:
    """Disk 2 is not there, or whole, be it from an earlier life."""
    whole = holds(image_format, OLD, NEW, number=2)
    return lambda site: not os.path.lexists(disk(site, 2)) or whole(site)


def merged(site: Site) -> bool:
    """What the guest wrote last is in the image, or in the layer that is found through the disk or beside the image."""
    if disk(site).exists():
        return site.holds(disk(site), "qcow2", NEW)
    return site.holds(site.root / "1/aaa", "qcow2", NEW)


def somewhere(site: Site) -> bool:
    """The disk is whole where it was, or where it goes."""
    place = site.directory if site.directory.exists() else site.root / "100/7"
    return site.holds(place / "disk.0", "qcow2", NEW)


def gone(site: Site) -> bool:
    return not site.directory.exists()


def undone(site: Site) -> bool:
    return True


def lets_go(site: Site) -> bool:
    return site.files() == [] and site.files("1") == ["aaa"] and site.holds(site.root / "1/aaa", "qcow2", NEW)


def moved(site: Site) -> bool:
    return somewhere(site) and not site.directory.exists() and site.files("100") == ["7"] and site.files("0") == []


def sized(image_format: str) -> Callable[[Site], bool]:
    content = holds(image_format, OLD)
    return lambda site: content(site) and site.info(disk(site))["virtual-size"] == 9 << 20


CREATE, REVERT, DELETE_1 = ({"DISK_ID": "0", "ITEM": number} for number in ("0", "0", "1"))
GROW = {"DISK_ID": "0", "SIZE": "9"}
SCENARIOS = {
    f"{name}-{form}": scenario
    for form in ("raw", "qcow2")
    for name, scenario in {
        "prolog": Scenario(K.TM_PROLOG, {}, attaching(form, CLONED), absent_or(form), holds(form, OLD, number=2)),
        "prolog-again": Scenario(K.TM_PROLOG, {}, once_more(form), absent_or(form), holds(form, OLD, number=2)),
        "create": Scenario(K.TM_SNAPSHOT_CREATE, CREATE, started(form), holds(form, OLD), holds(form, OLD)),
        "revert": Scenario(K.TM_SNAPSHOT_REVERT, REVERT, snapshotted(form), holds(form, OLD, NEW), holds(form, OLD)),
        "delete": Scenario(K.TM_SNAPSHOT_DELETE, DELETE_1, back_at_the_first(form), holds(form, NEW), holds(form, NEW)),
        "resize": Scenario(K.TM_RESIZE, GROW, started(form), holds(form, OLD), sized(form)),
        "attach": Scenario(
            K.TM_ATTACH, {"ITEM": "2"}, attaching(form, CLONED), absent_or(form), holds(form, OLD, number=2)
        ),
        "attach-persistent": Scenario(
            K.TM_ATTACH, {"ITEM": "2"}, attaching(form, PERSISTENT), absent_or(form), holds(form, OLD, number=2)
        ),
        "epilog": Scenario(K.TM_EPILOG, {}, snapshotted(form), undone, gone),
    }.items()
} | {
    "create-persistent": Scenario(
        K.TM_SNAPSHOT_CREATE, CREATE, started("qcow2", PERSISTENT), holds("qcow2", OLD), holds("qcow2", OLD)
    ),
    "detach-persistent": Scenario(K.TM_DETACH, {"ITEM": "0"}, snapshotted("qcow2", PERSISTENT), merged, lets_go),
    "migrate": Scenario(K.TM_MIGRATE, {}, moving, somewhere, moved),
}


def run_until(point: int, site: Site, scenario: Scenario, vm: Vm) -> bool:
    """Carries out the step in a child that dies before its change number ``point``; false when it got to its end."""
    pid = os.fork()
    if pid == 0:
        left = point

        def count(event: str, _arguments: object) -> None:
            nonlocal left
            if event in CHANGES:
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(count)
            order = an_order(scenario.kind, vm, args=scenario.args)
            answer = asyncio.run(site.driver.run(order))
            os._exit(0 if answer.ok else 3)
        finally:
            os._exit(4)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0, f"the step failed by itself ({os.WEXITSTATUS(status)})"
    return False


def finish(site: Site, scenario: Scenario, vm: Vm) -> None:
    """What a restarted controller does."""
    found = site.probe(scenario.kind, vm, **scenario.args)
    if found is None:
        answer = site.run(scenario.kind, vm, **scenario.args)
        assert answer.ok, answer.message
    assert scenario.finally_(site), f"the end is not what was wanted (probe: {found})"
    assert not site.leftovers(), f"{site.leftovers()} (probe: {found})"


def main(name: str, base: Path) -> None:
    scenario = SCENARIOS[name]
    site = Site(base)
    vm = scenario.prepare(site)
    saved = base / "saved"
    subprocess.run(["cp", "-a", site.root, saved], check=True, timeout=20)
    for point in range(1, MOST_POINTS):
        died = run_until(point, site, scenario, vm)
        assert scenario.always(site), f"point {point}: the disk is neither as before nor as wanted"
        finish(site, scenario, vm)
        if not died:
            print(point - 1)
            return
        for spoilt in (site.root, site.vms, Path(os.environ["OTHER_FILE_SYSTEM"]) / "7"):
            shutil.rmtree(spoilt, ignore_errors=True)
        subprocess.run(["cp", "-a", saved, site.root], check=True, timeout=20)
    raise AssertionError(f"more than {MOST_POINTS} changes")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
