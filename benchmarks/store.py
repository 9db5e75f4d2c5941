"""The durable store: commits of one object, grouped commits, loading.  Every commit is synced to the disk.

The database lies in ``build/``, on the checkout's own disk: a temporary directory may be in memory and would flatter.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from holdfast.engine.ports import Changes
from holdfast.model.enums import HistoryAction
from holdfast.model.template import Template
from holdfast.model.vm import History, Vm
from holdfast.model.vm_states import LcmState, VmState
from holdfast.store.codec import decode, encode
from holdfast.store.sqlite import SqliteStore

BUILD = Path(__file__).resolve().parent.parent / "build"
EPOCH = 1
GROUP = 100
SIZES = (10_000, 20_000, 40_000)
SECONDS = 1.0

Figure = dict[str, Any]


def run() -> list[Figure]:
    """All figures of the store."""
    return [*_codec(), *_commits(), *_growth()]


def a_vm(oid: int) -> Vm:
    """A VM as they are in life: three disks, a few attributes, one migration behind it."""
    disk = {
        "IMAGE": "debian 12",
        "IMAGE_ID": "3",
        "DATASTORE": "default",
        "DATASTORE_ID": "1",
        "SOURCE": "/var/lib/one/datastores/1/6f0d4b8e",
        "TM_MAD": "shared",
        "DEV_PREFIX": "vd",
        "DRIVER": "qcow2",
        "SIZE": "10240",
        "CLONE": "YES",
    }
    template = Template(
        [
            ("CPU", "1"),
            ("VCPU", "2"),
            ("MEMORY", "2048"),
            ("VMID", str(oid)),
            ("OS", {"ARCH": "x86_64", "BOOT": "disk0"}),
            ("GRAPHICS", {"LISTEN": "0.0.0.0", "TYPE": "VNC", "PORT": str(5900 + oid)}),
            ("CONTEXT", {"NETWORK": "YES", "SET_HOSTNAME": "$NAME", "TARGET": "hda"}),
            *(("DISK", {"DISK_ID": str(number), "TARGET": f"vd{'abc'[number]}", **disk}) for number in range(3)),
        ]
    )
    first = History(0, 4, "node4", 0, 100, "kvm", "shared", 1_790_000_000, 1_790_000_900, action=HistoryAction.MIGRATE)
    second = History(1, 5, "node5", 0, 100, "kvm", "shared", stime=1_790_000_901, rstime=1_790_000_902)
    return Vm(
        oid,
        uid=0,
        gid=0,
        name=f"web-{oid}",
        state=VmState.ACTIVE,
        lcm_state=LcmState.RUNNING,
        template=template,
        user_template=Template([("LABELS", "web")]),
        stime=1_790_000_000,
        deploy_id=f"one-{oid}",
        history=(first, second),
        may_run_on=(5,),
        monitoring=Template([("CPU", "3.1"), ("MEMORY", "204800")]),
    )


def _codec() -> Iterator[Figure]:
    vm = a_vm(17)
    text = encode(vm)
    yield _figure("store.encode_vm_us", 1, 1e6 / _per_second(lambda _: encode(vm), 0.3), "us")
    yield _figure("store.decode_vm_us", 1, 1e6 / _per_second(lambda _: decode(Vm, text), 0.3), "us")


def _commits() -> Iterator[Figure]:
    with _store() as store:
        vms = _fill(store, 1000)
        single = _per_second(partial(_change, store, vms, 1))
        yield _figure("store.commits_per_s", 1, single, "commits/s")
        grouped = _per_second(partial(_change, store, vms, GROUP))
        yield _figure("store.changes_per_s", GROUP, grouped * GROUP, "changes/s")


def _growth() -> Iterator[Figure]:
    """Loading grows with what there is; committing must not."""
    for size in SIZES:
        with _store() as store:
            vms = _fill(store, size)
            started = time.perf_counter()
            loaded = len(store.load().objects)
            yield _figure("store.load_s", loaded, time.perf_counter() - started, "s")
            grouped = _per_second(partial(_change, store, vms, GROUP))
            yield _figure("store.changes_per_s_among", size, grouped * GROUP, "changes/s")


@contextmanager
def _store() -> Iterator[SqliteStore]:
    BUILD.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="bench-store-", dir=BUILD) as directory,
        closing(SqliteStore(Path(directory) / "one.db")) as store,
    ):
        yield store


def _fill(store: SqliteStore, size: int) -> list[Vm]:
    vms = [a_vm(oid) for oid in range(size)]
    for start in range(0, size, 1000):
        store.commit(Changes(EPOCH, vms[start : start + 1000]))
    return vms


def _change(store: SqliteStore, vms: list[Vm], group: int, turn: int) -> None:
    """Commits new versions of VMs from all over the pool (a version that equals the stored one costs nothing)."""
    stride = len(vms) // group
    chosen = ((turn * 7919 + place * stride) % len(vms) for place in range(group))
    store.commit(Changes(EPOCH, [replace(vms[index], last_poll=turn + 1) for index in chosen]))


def _per_second(work: Callable[[int], object], seconds: float = SECONDS) -> float:
    started = time.perf_counter()
    turn = 0
    while (elapsed := time.perf_counter() - started) < seconds:
        work(turn)
        turn += 1
    return turn / elapsed


def _figure(name: str, n: int, value: float, unit: str) -> Figure:
    return {"name": name, "n": n, "value": round(value, 3), "unit": unit}
