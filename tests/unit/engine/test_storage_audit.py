"""Which files are orphans, remnants or missing; what is under way is neither."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.engine.ports import Snapshot
from holdfast.engine.state import State
from holdfast.engine.storage_audit import Finding, FindingKind, Ledger, agreed
from holdfast.engine.storage_looks import FRONTEND, Found, Looks, Place
from holdfast.model.effect import Effect
from holdfast.model.enums import DatastoreType, EffectKind, HistoryAction, ImageState, ImageType
from holdfast.model.storage import Datastore, Image
from holdfast.model.template import Template
from holdfast.model.vm import History, Vm
from holdfast.model.vm_states import LcmState, VmState

SYSTEM, IMAGES, SSH = Place(0, FRONTEND, "/ds/0"), Place(1, FRONTEND, "/ds/1"), Place(100, "host1", "/ds/100")
DATASTORES = (
    Datastore(0, "system", DatastoreType.SYSTEM_DS, "shared", "-", "/ds/0"),
    Datastore(1, "default", DatastoreType.IMAGE_DS, "shared", "fs", "/ds/1", images=(3,)),
    Datastore(100, "local", DatastoreType.SYSTEM_DS, "ssh", "-", "/ds/100"),
)
RUNNING = (VmState.ACTIVE, LcmState.RUNNING)


def vm(
    state: tuple[VmState, LcmState] = RUNNING, ds_id: int = 0, vm_mad: str = "kvm", disks: int = 1, **record: object
) -> Vm:
    """VM 7 with disks; its files are on this datastore."""
    stay = History(0, 1, "host1", 0, ds_id, vm_mad, "shared")
    sections = [("DISK", {"DISK_ID": str(number), "TM_MAD": "shared"}) for number in range(disks)]
    stay = replace(stay, **record)  # type: ignore[arg-type]
    return Vm(7, 0, 0, "web", *state, template=Template(sections), history=(stay,))


def image(state: ImageState = ImageState.READY, **fields: object) -> Image:
    """Image 3."""
    plain = Image(3, "alpine", 1, "default", ImageType.OS, state, source="/ds/1/abc")
    return replace(plain, **fields)  # type: ignore[arg-type]


def effect(kind: EffectKind, subject: int) -> Effect:
    """Work that is under way."""
    return Effect(5, kind, subject, 1, 0.0, 9.0, 1)


def audit(
    place: Place,
    objects: list[Vm | Image | Effect],
    *found: str | Found,
    elsewhere: dict[Place, list[Found]] | None = None,
    frontend: str = FRONTEND,
) -> list[tuple[str, str, str]]:
    """Kind, path and reason of each finding; entries without a dot or slash are directories."""
    entries = looked(*found)
    ledger = Ledger(State(Snapshot(1, [*DATASTORES, *objects])), frontend)
    looks = Looks([(place, entries), *(elsewhere or {}).items()])
    return [(each.kind.value, each.path, each.reason) for each in ledger.audit(place, entries, looks)]


def looked(*found: str | Found, inode: int = 0) -> list[Found]:
    """What a look finds; the numbers of the files begin there."""
    inodes = range(inode, inode + len(found)) if inode else [0] * len(found)
    return [
        each if isinstance(each, Found) else Found(each, is_directory=each.isdecimal(), inode=number)
        for each, number in zip(found, inodes, strict=True)
    ]


def test_what_belongs_where_it_is_is_no_finding() -> None:
    files = ("7", "7/disk.0", "7/disk.0.snap", "7/deployment.0", "7/checkpoint.used", ".monitor")
    assert audit(SYSTEM, [vm()], *files) == []
    assert audit(IMAGES, [image()], "abc", "abc.snap", "abc.md5sum", ".abc.brought-back") == []


def test_a_directory_without_a_vm_is_an_orphan() -> None:
    done = replace(vm((VmState.DONE, LcmState.LCM_INIT)), oid=8)
    assert audit(SYSTEM, [done], "8", "8/disk.0", "9", "lost") == [
        ("ORPHAN", "8", "the VM is DONE"),
        ("ORPHAN", "9", "there is no such VM"),
        ("ORPHAN", "lost", "it is no VM's directory"),
    ]


OLD = "this is an old copy, or the same storage seen from here"
LAST = "this may be the last copy"


def test_a_directory_that_its_vm_has_left_is_a_stray() -> None:
    at_home = {SSH: looked("7", "7/disk.0")}
    said = ("STRAY", "7", f"the VM's files are on datastore 100: {OLD}")
    assert audit(SYSTEM, [vm(ds_id=100)], "7", "7/disk.0", elsewhere=at_home) == [said]
    for host in ("host2", FRONTEND):
        found = audit(replace(SSH, host=host), [vm(ds_id=100)], "7", elsewhere=at_home)
        assert found == [("STRAY", "7", f"the VM's files are on host1: {OLD}")]


def test_what_may_be_the_last_copy_is_said_to_be_one() -> None:
    there, moved = replace(SSH, host="host2"), vm((VmState.POWEROFF, LcmState.LCM_INIT), ds_id=100)
    unseen = f"the VM's files belong on host1, where nobody could look: {LAST}"
    assert audit(there, [moved], "7", "7/disk.0") == [("STRAY", "7", unseen)]
    broken = Found("7/disk.0", is_broken_link=True)
    for at_home in (looked(), looked("7", "7/disk.1"), looked("7", broken), looked("7.moved")):
        found = audit(there, [moved], "7", "7/disk.0", elsewhere={SSH: at_home})
        assert found == [("STRAY", "7", f"the VM's files belong on host1 and are not all there: {LAST}")]


def test_what_a_move_set_aside_is_no_remnant_before_the_copy_is_seen_where_it_belongs() -> None:
    last = ("STRAY", "7.moved", "a move set it aside and has not ended: it may be the last copy of the VM's files")
    assert audit(SSH, [vm((VmState.ACTIVE, LcmState.BOOT_FAILURE), ds_id=100)], "7.moved", "7", "7/disk.1")[0] == last
    between = vm((VmState.ACTIVE, LcmState.PROLOG_MIGRATE_POWEROFF_FAILURE), ds_id=100)
    assert audit(SSH, [between], "7.moved", elsewhere={replace(SSH, host="host2"): looked("7", "7/disk.0")}) == [last]
    arrived = vm(ds_id=100, hostname="host2")
    found = audit(SSH, [arrived], "7.moved", elsewhere={replace(SSH, host="host2"): looked("7", "7/disk.0")})
    assert found == [("REMNANT", "7.moved", "an interrupted step left it")]


def test_storage_that_two_hosts_mount_holds_no_stray() -> None:
    there, files = replace(SSH, host="host2"), ("7", "7/disk.0")
    same = {SSH: looked(*files, inode=40)}
    assert audit(there, [vm(ds_id=100)], *looked(*files, inode=40), elsewhere=same) == []
    [(kind, _, reason)] = audit(there, [vm(ds_id=100)], *looked(*files, inode=50), elsewhere=same)
    assert (kind, reason) == ("STRAY", f"the VM's files are on host1: {OLD}")


def test_the_files_of_a_host_that_is_the_front_end_are_looked_at_there() -> None:
    here = replace(SSH, host=FRONTEND)
    assert audit(here, [vm(ds_id=100)], "7", "7/disk.0", frontend="host1") == []
    assert audit(here, [vm(ds_id=100)], frontend="host1") == [("MISSING", "7/disk.0", "it does not exist")]


def test_a_disk_that_its_vm_does_not_have_is_an_orphan_and_that_of_the_context_is_not() -> None:
    context = replace(vm(), template=vm().template.extended([("CONTEXT", {"DISK_ID": "1"})]))
    files = ("7", "7/disk.0", "7/disk.1", "7/disk.4", "7/disk.4.snap")
    assert audit(SYSTEM, [context], *files) == [
        ("ORPHAN", "7/disk.4", "the VM has no disk 4"),
        ("ORPHAN", "7/disk.4.snap", "the VM has no disk 4"),
    ]


@pytest.mark.parametrize(
    "name",
    [
        *("7.draft.0af", ".7.deleted", "7.moved", "7/disk.0.draft.0af"),
        *("7/disk.0.snap.draft.0af", "7/.disk.0.snap.deleted", "7/checkpoint.draft"),
    ],
)
def test_what_an_interrupted_step_left_is_a_remnant_unless_it_goes_on(name: str) -> None:
    files = ("7", "7/disk.0", Found(name, 4096))
    assert audit(SYSTEM, [vm()], *files) == [("REMNANT", name, "an interrupted step left it")]
    assert audit(SYSTEM, [vm(), effect(EffectKind.TM_RESIZE, 7)], *files) == []


def test_a_disk_that_is_not_there_or_leads_nowhere_is_missing() -> None:
    found = ("7", "7/disk.0", Found("7/disk.1", is_broken_link=True))
    assert audit(SYSTEM, [vm(disks=3)], *found) == [
        ("MISSING", "7/disk.1", "it leads to a file that does not exist"),
        ("MISSING", "7/disk.2", "it does not exist"),
    ]


@pytest.mark.parametrize(
    ("state", "lost"),
    [
        ((VmState.SUSPENDED, LcmState.LCM_INIT), ["7/disk.0", "7/checkpoint"]),
        ((VmState.POWEROFF, LcmState.LCM_INIT), ["7/disk.0"]),
        ((VmState.ACTIVE, LcmState.UNKNOWN), ["7/disk.0"]),
        ((VmState.ACTIVE, LcmState.BOOT_FAILURE), ["7/disk.0"]),
        ((VmState.ACTIVE, LcmState.PROLOG_FAILURE), []),
        ((VmState.ACTIVE, LcmState.PROLOG), []),
        ((VmState.PENDING, LcmState.LCM_INIT), []),
        ((VmState.DONE, LcmState.LCM_INIT), []),
    ],
)
def test_files_are_missing_where_a_vm_needs_them(state: tuple[VmState, LcmState], lost: list[str]) -> None:
    assert [path for _, path, _ in audit(SYSTEM, [vm(state)])] == lost


def test_a_hypervisor_that_keeps_no_checkpoint_lacks_none() -> None:
    assert audit(SYSTEM, [vm((VmState.SUSPENDED, LcmState.LCM_INIT), vm_mad="dummy")], "7", "7/disk.0") == []


def test_a_parked_vm_has_its_files_on_the_front_end() -> None:
    parked = vm((VmState.UNDEPLOYED, LcmState.LCM_INIT), 100, eetime=9, action=HistoryAction.STOP)
    here = replace(SSH, host=FRONTEND)
    assert audit(here, [parked], "7", "7/disk.0") == []
    assert audit(here, [parked]) == [("MISSING", "7/disk.0", "it does not exist")]
    found = audit(SSH, [parked], "7", elsewhere={here: looked("7", "7/disk.0")})
    assert found == [("STRAY", "7", f"the VM's files are on the front-end: {OLD}")]


@pytest.mark.parametrize("kind", [EffectKind.TM_MIGRATE, EffectKind.TM_DELETE, EffectKind.VMM_DEPLOY])
def test_nothing_is_said_of_a_vm_whose_files_are_under_way(kind: EffectKind) -> None:
    work = effect(kind, 7)
    assert audit(SYSTEM, [vm(disks=3), work], "7", "7/disk.9") == []
    assert audit(SYSTEM, [vm(ds_id=100), work], "7") == []
    assert audit(SYSTEM, [vm((VmState.DONE, LcmState.LCM_INIT)), work], "7") == []


def test_a_vm_between_two_places_may_have_files_in_both() -> None:
    between = vm((VmState.ACTIVE, LcmState.PROLOG_MIGRATE_POWEROFF_FAILURE), ds_id=100)
    assert audit(SYSTEM, [between], "7", "7/disk.0") == []


def test_files_without_an_image_are_orphans_and_an_image_without_its_file_is_missing() -> None:
    assert audit(IMAGES, [image()], "other", "def.draft.0af", ".def.deleted") == [
        ("ORPHAN", "other", "there is no such image"),
        ("REMNANT", "def.draft.0af", "an interrupted step left it"),
        ("REMNANT", ".def.deleted", "an interrupted step left it"),
        ("MISSING", "abc", "it does not exist"),
    ]


@pytest.mark.parametrize("state", [ImageState.ERROR, ImageState.LOCKED, ImageState.DELETE])
def test_an_image_that_is_not_whole_lacks_nothing(state: ImageState) -> None:
    assert audit(IMAGES, [image(state)]) == []


@pytest.mark.parametrize("work", [effect(EffectKind.IMAGE_CREATE, 3), effect(EffectKind.TM_EPILOG, 7)])
def test_nothing_is_said_of_an_image_that_is_being_made_or_written_back(work: Effect) -> None:
    assert audit(IMAGES, [image(vms=(7,)), work], "abc.draft.0af") == []


def test_only_what_two_looks_agree_on_counts() -> None:
    one = Finding(FindingKind.ORPHAN, SYSTEM, "8", "then")
    other = Finding(FindingKind.MISSING, SYSTEM, "8", "now")
    now = replace(one, reason="now")
    assert agreed([one], [other, now]) == [now]
    assert agreed([], [now]) == []
