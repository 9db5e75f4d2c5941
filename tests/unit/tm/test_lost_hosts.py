"""Nothing of a failover touches the dead host: what the process executes and connects to is watched meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.vm import Vm
from tests.unit.tm.site import Site
from tests.unit.vmm.objects import a_stay

K = EffectKind
OK = Answer(ok=True)
_watchers: list[list[str]] = []
_hooked: list[bool] = []


def _note(event: str, details: tuple[object, ...]) -> None:
    if event in ("subprocess.Popen", "os.posix_spawn", "os.exec", "socket.connect", "socket.getaddrinfo"):
        for watcher in _watchers:
            watcher.append(f"{event} {details[:2]}")


@contextmanager
def watched() -> Iterator[list[str]]:
    """Everything that Python executes, looks up or connects to; the interpreter itself tells."""
    if not _hooked:  # an audit hook stays for ever
        sys.addaudithook(_note)
        _hooked.append(True)
    seen: list[str] = []
    _watchers.append(seen)
    try:
        yield seen
    finally:
        _watchers.remove(seen)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Empty datastores."""
    return Site(tmp_path)


def moved(vm: Vm, ds_id: int = 0, tm_mad: str = "qcow2") -> Vm:
    """The VM on its way from host 1 to host 2."""
    stays = tuple(replace(a_stay(number, number - 1, ds_id), tm_mad=tm_mad) for number in (1, 2))
    return replace(vm, history=stays)


@pytest.mark.parametrize("tm_mad", ["shared", "qcow2"])
@pytest.mark.parametrize("persistent", [False, True])
def test_the_files_of_a_failed_over_vm_follow_without_one_command_or_connection(
    site: Site, tm_mad: str, persistent: bool
) -> None:
    extra = "CLONE=NO, SAVE=YES" if persistent else "CLONE=YES, SAVE=NO"
    vm = site.vm(site.disk(site.image("aaa"), extra=extra).replace("TM_MAD=qcow2", f"TM_MAD={tm_mad}"))
    with watched() as seen:
        assert site.run(K.TM_PROLOG, vm) == OK
        executed = [one for one in seen if "Popen" in one]
    assert bool(executed) is not persistent, "the watch sees what is executed"
    before = site.files()
    with watched() as seen:
        assert site.probe(K.TM_MIGRATE, moved(vm, tm_mad=tm_mad), SEQ=1) is not None
        assert site.run(K.TM_MIGRATE, moved(vm, tm_mad=tm_mad), SEQ=1) == OK
    assert seen == []
    assert site.files() == before


def on_ssh(site: Site) -> Vm:
    """A VM whose files are on host 1 alone."""
    text = site.disk(site.root / "1/aaa").replace("TM_MAD=qcow2", "TM_MAD=ssh")
    return replace(site.vm(text), history=moved(site.vm(text), 100, "ssh").history[:1])


def test_the_files_on_a_lost_host_stay_there_when_the_vm_is_made_anew(site: Site) -> None:
    vm = on_ssh(site)
    with watched() as seen:
        assert site.run(K.TM_DELETE, vm, LOST="host1") == OK
    assert seen == []
    assert (site.vms / "7/transfer.0.delete").read_text() == (
        f"DELETE ssh host1:{site.root}/100/7/disk.0 7 1\nDELETE ssh host1:{site.root}/100/7 7 100\n"
    )


@pytest.mark.parametrize(("kind", "action"), [(K.TM_MIGRATE, "MV"), (K.TM_STOP, "MV"), (K.TM_EPILOG, "MVDS")])
def test_what_needs_the_files_of_a_lost_host_fails_at_once(site: Site, kind: EffectKind, action: str) -> None:
    vm = on_ssh(site)
    if kind is K.TM_MIGRATE:
        vm = moved(vm, 100, "ssh")
    if kind is K.TM_EPILOG:
        disk = {**vm.template.section("DISK"), "SAVE": "YES"}
        vm = replace(vm, template=vm.template.with_sections("DISK", [disk]))
    with watched() as seen:
        answer = site.run(kind, vm, LOST="host1")
    assert seen == []
    assert not answer.ok
    assert answer.certain
    said = f"host host1 is lost, with the files: try again when it is back (line 1: {action} ssh host1:"
    assert answer.message.startswith(said)


def test_the_files_at_the_other_end_of_a_move_are_removed_all_the_same(site: Site) -> None:
    vm = moved(site.vm(site.disk(site.image("aaa"))), 0)
    (site.root / "0/7").mkdir()
    assert site.run(K.TM_DELETE, vm, LOST="host1", OTHER_HID=1, SEQ=1) == OK
    assert (site.vms / "7/transfer.1.delete_both").exists()
    assert not (site.root / "0/7").exists()
