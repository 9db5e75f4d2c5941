"""What every store promises its engine, checked on each of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.engine.ports import Changes, Snapshot, Stored
from holdfast.engine.state import LOG_RETENTION, State
from holdfast.model.effect import Effect
from holdfast.model.enums import (
    DatastoreType,
    EffectKind,
    EffectState,
    FailoverMode,
    FailoverState,
    HostState,
    ImageState,
    ImageType,
    ProofKind,
)
from holdfast.model.errors import StoreError
from holdfast.model.failover import Evidence, Failover, Proof, Row, Step
from holdfast.model.hook import Hook, HookExecution
from holdfast.model.host import Host
from holdfast.model.repair import Holder, Repair, RepairDeed, RepairRecord, RepairResult
from holdfast.model.storage import Datastore, Image
from holdfast.model.template import Template
from holdfast.model.user import User
from holdfast.model.vm import History, Vm
from holdfast.model.vm_states import LcmState, VmState
from holdfast.store.memory import MemoryStore
from holdfast.store.sqlite import SqliteStore

AnyStore = SqliteStore | MemoryStore


class Controller:
    """Something that opens a store, uses it, and can be restarted."""

    def __init__(self, store: AnyStore) -> None:
        self.store = store

    def commit(self, *puts: Stored, epoch: int = 1, **rest: Any) -> None:
        self.store.commit(Changes(epoch, puts, **rest))

    def restart(self) -> Snapshot:
        if isinstance(self.store, MemoryStore):
            self.store = self.store.reload()
        else:
            self.store.close()
            self.store = SqliteStore(self.store.path)
        return self.store.load()


@pytest.fixture(params=["sqlite", "memory"])
def controller(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Controller]:
    started = Controller(SqliteStore(tmp_path / "one.db") if request.param == "sqlite" else MemoryStore())
    yield started
    started.store.close()


def a_vm(oid: int = 0, name: str = "web") -> Vm:
    template = Template([("CPU", "0.5"), ("DISK", {"IMAGE_ID": "3"}), ("NOTE", 'ünï"\x00\ud800')])
    history = (History(0, 5, "node5", 0, 100, "kvm", "shared", stime=7),)
    return Vm(oid, 0, 0, name, VmState.ACTIVE, LcmState.RUNNING, template, history=history, may_run_on=(5,))


def an_effect(oid: int, state: EffectState = EffectState.PLANNED) -> Effect:
    return Effect(oid, EffectKind.VMM_DEPLOY, 0, 5, 1.0, 2.0, 1, state, args={"A": "b"})


def an_execution(hook_id: int, execution_id: int, code: int = 0) -> HookExecution:
    return HookExecution(hook_id, execution_id, 100 + execution_id, "args", "ft.sh", "b3V0", "", code)


def a_repair() -> Repair:
    record = RepairRecord(
        1, RepairDeed.RUN, 2.5, "oneadmin", "a@b", "transfer.0.prolog", 1, "CLONE x", RepairResult.FAILURE, 3.5, "no"
    )
    holder = Holder(0, "oneadmin", "a@b", "s" * 16, 2.0)
    lines = ("CLONE x", "CONTEXT y")
    return Repair(0, LcmState.PROLOG_FAILURE, "transfer.0.prolog", lines, 1, holder, 7, (record,), 2)


def one_of_each() -> list[Stored]:
    failover = Failover(
        8,
        5,
        "node5",
        FailoverState.FENCING,
        FailoverMode.MIGRATE,
        "oneadmin",
        1.5,
        evidence=(Evidence("agent", 1.0, "DEAD", "silent"),),
        steps=(Step(1.0, FailoverState.PROVING, "asked"),),
        rows=(Row(0, "web", tried=(5, 6)),),
    )
    return [
        a_vm(),
        Host(1, "node5", HostState.MONITORED, "kvm", "kvm", vms=(0,)),
        Datastore(2, "system", DatastoreType.SYSTEM_DS, "shared", "fs", "/var/lib/one"),
        Image(3, "disk", 2, "system", ImageType.OS, ImageState.READY),
        Hook(4, "ft", "state", Template([("ON", "ERROR")])),
        User(5, "oneadmin", "00ff"),
        failover,
        Proof(6, 1, ProofKind.FENCED, 2.5, "ipmi", "is off"),
        an_effect(7),
        a_repair(),
    ]


def test_a_new_store_is_empty_and_at_the_first_epoch(controller: Controller) -> None:
    assert controller.store.load() == Snapshot(epoch=1, objects=[], executions=[], counters={})


def test_every_kind_of_object_survives_a_restart(controller: Controller) -> None:
    controller.commit(*one_of_each())
    assert sorted(controller.restart().objects, key=repr) == sorted(one_of_each(), key=repr)


def test_the_newest_version_is_the_one_that_stays(controller: Controller) -> None:
    controller.commit(a_vm(name="old"), a_vm(1))
    controller.commit(a_vm(name="new"))
    assert controller.restart().objects == [a_vm(name="new"), a_vm(1)]


def test_what_was_deleted_stays_away_and_deleting_it_again_does_no_harm(controller: Controller) -> None:
    controller.commit(a_vm(0), a_vm(1), an_effect(0))
    controller.commit(deletes=[(Vm, 0), (Effect, 0)])
    controller.commit(deletes=[(Vm, 0), (Host, 77)])
    assert controller.restart().objects == [a_vm(1)]


def test_ids_of_different_kinds_do_not_meet(controller: Controller) -> None:
    user = User(0, "oneadmin", "00ff")
    controller.commit(a_vm(0), user)
    controller.commit(deletes=[(Vm, 0)])
    assert controller.restart().objects == [user]


def test_only_open_effects_are_loaded(controller: Controller) -> None:
    controller.commit(*(an_effect(oid, state) for oid, state in enumerate(EffectState)), an_effect(9))
    controller.commit(an_effect(9, EffectState.FAILED))
    opened = {effect.state for effect in controller.restart().objects if isinstance(effect, Effect)}
    assert opened == {EffectState.PLANNED, EffectState.RUNNING}
    assert len(controller.store.load().objects) == 2


def test_the_hook_log_keeps_the_newest_records_of_each_hook(controller: Controller) -> None:
    controller.commit(Hook(1, "a", "state"), Hook(2, "b", "state"))
    for execution_id in range(LOG_RETENTION + 5):
        controller.commit(executions=[an_execution(1, execution_id)])
    controller.commit(executions=[an_execution(2, execution_id) for execution_id in range(LOG_RETENTION + 7)])
    controller.commit(executions=[an_execution(3, 0)])
    assert controller.restart().executions == [
        *(an_execution(1, execution_id) for execution_id in range(5, LOG_RETENTION + 5)),
        *(an_execution(2, execution_id) for execution_id in range(7, LOG_RETENTION + 7)),
        an_execution(3, 0),
    ]


def test_a_record_of_the_same_execution_replaces_the_older_one(controller: Controller) -> None:
    controller.commit(executions=[an_execution(1, 0), an_execution(1, 1)])
    controller.commit(executions=[an_execution(1, 0, code=255)])
    assert controller.restart().executions == [an_execution(1, 0, code=255), an_execution(1, 1)]


def test_a_deleted_hook_takes_its_log_along(controller: Controller) -> None:
    controller.commit(Hook(1, "a", "state"), Hook(2, "b", "state"), executions=[an_execution(1, 0), an_execution(2, 0)])
    controller.commit(deletes=[(Hook, 1), (Vm, 2)])
    assert controller.restart().executions == [an_execution(2, 0)]


def test_counters_go_on_where_they_were(controller: Controller) -> None:
    controller.commit(counters={"Vm": 3, "Host": 1})
    controller.commit(counters={"Vm": 2**40})
    assert controller.restart().counters == {"Vm": 2**40, "Host": 1}


@pytest.mark.parametrize("epoch", [0, 2])
def test_a_controller_of_another_epoch_changes_nothing(controller: Controller, epoch: int) -> None:
    controller.commit(a_vm())
    with pytest.raises(StoreError, match=f"of epoch {epoch}, but the store is at epoch 1"):
        controller.commit(a_vm(name="deposed"), epoch=epoch, deletes=[(Vm, 0)], counters={"Vm": 9})
    assert controller.restart() == Snapshot(epoch=1, objects=[a_vm()], executions=[], counters={})


def test_a_commit_with_one_bad_object_changes_nothing_and_the_next_one_works(controller: Controller) -> None:
    controller.commit(a_vm(0))
    before = controller.store.load()
    bad: Any = object()
    with pytest.raises(StoreError, match="A Vm cannot be stored"):
        controller.commit(a_vm(1), a_vm(2, name=bad), deletes=[(Vm, 0)], counters={"Vm": 3})
    assert controller.store.load() == before
    controller.commit(a_vm(1))
    assert controller.restart().objects == [a_vm(0), a_vm(1)]


def test_a_closed_store_says_so(controller: Controller) -> None:
    controller.store.close()
    controller.store.close()
    with pytest.raises(StoreError, match="is closed"):
        controller.store.load()
    with pytest.raises(StoreError, match="is closed"):
        controller.commit(a_vm())


def test_another_thread_than_the_creator_may_use_it(controller: Controller) -> None:
    loaded: list[Snapshot] = []

    def work() -> None:
        controller.commit(a_vm())
        loaded.append(controller.store.load())

    worker = threading.Thread(target=work)
    worker.start()
    worker.join(timeout=30)
    assert loaded == [controller.store.load()]
    assert loaded[0].objects == [a_vm()]


KINDS = (Vm, Host, Hook, Effect)

one_change = st.tuples(st.sampled_from(["put", "close", "delete", "log"]), st.sampled_from(KINDS), st.integers(0, 3))
histories = st.lists(st.lists(one_change, max_size=6), max_size=8)


def an_object(kind: type[Any], oid: int, version: int) -> Stored:
    made: dict[type[Any], Callable[[], Stored]] = {
        Vm: lambda: a_vm(oid, f"v{version}"),
        Host: lambda: Host(oid, f"v{version}", HostState.MONITORED, "kvm", "kvm"),
        Hook: lambda: Hook(oid, f"v{version}", "state"),
        Effect: lambda: replace(an_effect(oid), message=f"v{version}"),
    }
    return made[kind]()


def as_changes(version: int, history: list[tuple[str, type[Any], int]]) -> Changes:
    """What a draft would make of it: an object is either put or deleted."""
    staged: dict[tuple[type[Any], int], Stored | None] = {}
    executions = []
    for step, (what, kind, oid) in enumerate(history):
        if what == "log":
            executions.append(an_execution(oid, version * 100 + step))
        elif what == "close":
            staged[Effect, oid] = replace(an_effect(oid), state=EffectState.DONE)
        else:
            staged[kind, oid] = an_object(kind, oid, version) if what == "put" else None
    puts = [stored for stored in staged.values() if stored is not None]
    deletes = [key for key, stored in staged.items() if stored is None]
    return Changes(1, puts, deletes, executions, {"Vm": version})


@pytest.mark.parametrize("kind", ["sqlite", "memory"])
@settings(deadline=None, max_examples=40)
@given(history=histories)
def test_a_restarted_engine_has_the_state_it_had(kind: str, history: list[list[tuple[str, type[Any], int]]]) -> None:
    with TemporaryDirectory() as directory:
        controller = Controller(SqliteStore(Path(directory) / "one.db") if kind == "sqlite" else MemoryStore())
        state = State(controller.store.load())
        for version, batch in enumerate(history):
            changes = as_changes(version, batch)
            controller.store.commit(changes)
            state.publish(changes)
        with closing(controller.store):
            restarted = State(controller.restart())
            controller.store.close()
    assert restarted.pools == state.pools
    assert restarted.counters == state.counters
    assert restarted.executions == state.executions
