"""The durable store: commits of one object, grouped commits, loading.  Every commit is synced to the disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from benchmarks.figures import Figure, Measurement
from benchmarks.installation import EPOCH, a_vm, empty_store, fill
from holdfast.engine.ports import Changes
from holdfast.model.vm import Vm
from holdfast.store.codec import decode, encode
from holdfast.store.sqlite import SqliteStore

GROUP = 100
SIZES = (10_000, 20_000, 40_000)
SECONDS = 1.0
QUICK_SECONDS = 0.3


def _codec(quick: bool) -> Iterator[Figure]:
    vm = a_vm(17)
    text = encode(vm)
    yield Figure("store.encode_vm_us", 1, 1e6 / _per_second(lambda _: encode(vm), QUICK_SECONDS), "us")
    yield Figure("store.decode_vm_us", 1, 1e6 / _per_second(lambda _: decode(Vm, text), QUICK_SECONDS), "us")


def _commits(quick: bool) -> Iterator[Figure]:
    seconds = QUICK_SECONDS if quick else SECONDS
    with empty_store() as store:
        vms = _filled(store, 1000)
        yield Figure("store.commits_per_s", 1, _per_second(partial(_change, store, vms, 1), seconds), "commits/s")
        grouped = _per_second(partial(_change, store, vms, GROUP), seconds)
        yield Figure("store.changes_per_s", GROUP, grouped * GROUP, "changes/s")


def _growth(quick: bool) -> Iterator[Figure]:
    """Loading grows with what there is; committing must not."""
    for size in SIZES[:1] if quick else SIZES:
        with empty_store() as store:
            vms = _filled(store, size)
            started = time.perf_counter()
            loaded = len(store.load().objects)
            yield Figure("store.load_s", loaded, time.perf_counter() - started, "s")
            grouped = _per_second(partial(_change, store, vms, GROUP), QUICK_SECONDS if quick else SECONDS)
            yield Figure("store.changes_per_s_among", size, grouped * GROUP, "changes/s")


MEASUREMENTS = (
    Measurement(("store.encode_vm_us", "store.decode_vm_us"), _codec),
    Measurement(("store.commits_per_s", "store.changes_per_s"), _commits),
    Measurement(("store.load_s", "store.changes_per_s_among"), _growth),
)


def _filled(store: SqliteStore, size: int) -> list[Vm]:
    vms = [a_vm(oid) for oid in range(size)]
    fill(store, vms)
    return vms


def _change(store: SqliteStore, vms: list[Vm], group: int, turn: int) -> None:
    """Commits new versions of VMs from all over the pool (a version that equals the stored one costs nothing)."""
    stride = len(vms) // group
    chosen = ((turn * 7919 + place * stride) % len(vms) for place in range(group))
    store.commit(Changes(EPOCH, [replace(vms[index], last_poll=turn + 1) for index in chosen]))


def _per_second(work: Callable[[int], object], seconds: float) -> float:
    started = time.perf_counter()
    turn = 0
    while (elapsed := time.perf_counter() - started) < seconds:
        work(turn)
        turn += 1
    return turn / elapsed
