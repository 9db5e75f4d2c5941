"""Which files are orphans, remnants or missing; what is under way is neither."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.engine.ports import Snapshot
from holdfast.engine.state import State
from holdfast.engine.storage_audit import FRONTEND, Finding, FindingKind, Found, Ledger, Place, agreed
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


def audit(place: Place, objects: list[Vm | Image | Effect], *found: str | Found) -> list[tuple[str, str, str]]:
    """Kind, path and reason of each finding; entries without a dot or slash are directories."""
    entries = [each if isinstance(each, Found) else Found(each, is_directory=each.isdecimal()) for each in found]
    ledger = Ledger(State(Snapshot(1, [*DATASTORES, *objects])))
    return [(each.kind.value, each.path, each.reason) for each in ledger.audit(place, entries)]


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


def test_a_directory_that_its_vm_has_left_is_an_orphan() -> None:
    assert audit(SYSTEM, [vm(ds_id=100)], "7", "7/disk.0") == [("ORPHAN", "7", "the VM's files are on datastore 100")]
    elsewhere = replace(SSH, host="host2")
    assert audit(elsewhere, [vm(ds_id=100)], "7") == [("ORPHAN", "7", "the VM's files are on host1")]
    assert audit(replace(SSH, host=FRONTEND), [vm(ds_id=100)], "7") == [("ORPHAN", "7", "the VM's files are on host1")]


def test_a_disk_that_its_vm_does_not_have_is_an_orphan_and_that_of_the_context_is_not() -> None:
    context = replace(vm(), template=vm().template.extended([("CONTEXT", {"DISK_ID": "1"})]))
    files = ("7", "7/disk.0", "7/disk.1", "7/disk.4", "7/disk.4.snap")
    assert audit(SYSTEM, [context], *files) == [
        ("ORPHAN", "7/disk.4", "the VM has no disk 4"),
        ("ORPHAN", "7/disk.4.snap", "the VM has no disk 4"),
    ]


@pytest.mark.parametrize(
    "name",
    ["7.draft.0af", ".7.deleted", "7.moved", "7/disk.0.draft.0af", "7/disk.0.snap.draft.0af", "7/.disk.0.snap.deleted"],
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
    assert audit(SSH, [parked], "7") == [("ORPHAN", "7", "the VM's files are on the front-end")]


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
