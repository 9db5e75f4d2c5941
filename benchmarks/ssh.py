"""Copies to a host over ssh: a whole prolog against plain scp of the same file, and the clone of a large sparse image.

The host is a real sshd on the loopback network with storage of its own; both ends, the ssh between them and the
controller share this machine's cores.  What is copied by a prolog is synced on the host and has its name; scp leaves
its file to the page cache.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figures import BUILD, Figure, Measurement
from holdfast.drivers.tm.driver import TmDriver
from holdfast.model.enums import EffectKind
from tests.unit.tm.ssh_hosts import SshSite, running
from tests.unit.vmm.objects import a_stay, an_order, elsewhere

MIB = 1 << 20
COPIED_MIB, QUICK_COPIED_MIB = 1024, 256
SPARSE_GIB = 10
SPARSE_DATA_MIB = 64
LIMIT_S = 300.0
TRIES = 3


@contextmanager
def _site() -> Iterator[SshSite]:
    BUILD.mkdir(exist_ok=True)
    base = Path(tempfile.mkdtemp(dir=BUILD, prefix="ssh-"))
    try:
        site = SshSite(base)
        with running(*site.hosts):
            yield site
    finally:
        shutil.rmtree(base)


def _copies(quick: bool) -> Iterator[Figure]:
    size = QUICK_COPIED_MIB if quick else COPIED_MIB
    with _site() as site:
        image = site.root / "1/image"
        with image.open("wb") as file:
            for _ in range(size):
                file.write(os.urandom(MIB))
        ours, plain = [], []
        for _ in range(TRIES):  # in turns: whatever else the machine does meets both
            ours.append(_seconds(lambda: _prolog(site, image)))
            plain.append(_seconds(lambda: _scp(site, image)))
        yield Figure("ssh.copy_mib_per_s", size, size / min(ours), "MiB/s")
        yield Figure("ssh.scp_mib_per_s", size, size / min(plain), "MiB/s")
        yield Figure("ssh.copy_to_scp_ratio", size, min(plain) / min(ours), "ratio")


def _clone(quick: bool) -> Iterator[Figure]:
    with _site() as site:
        image = site.root / "1/image"
        with image.open("wb") as file:
            file.truncate(SPARSE_GIB << 30)
            for number in range(SPARSE_DATA_MIB):
                file.seek(number * (SPARSE_GIB << 30) // SPARSE_DATA_MIB)
                file.write(os.urandom(MIB))
        took_s = _seconds(lambda: _prolog(site, image))
        disk = site.host1.directory / "disk.0"
        assert disk.stat().st_size == SPARSE_GIB << 30
        yield Figure("ssh.clone_sparse_s", SPARSE_GIB, took_s, "s")
        yield Figure("ssh.clone_sparse_written_mib", SPARSE_GIB, disk.stat().st_blocks * 512 / MIB, "MiB")


MEASUREMENTS = (
    Measurement(("ssh.copy_mib_per_s", "ssh.scp_mib_per_s", "ssh.copy_to_scp_ratio"), _copies),
    Measurement(("ssh.clone_sparse_s", "ssh.clone_sparse_written_mib"), _clone),
)


def _prolog(site: SshSite, image: Path) -> None:
    """From the order to the driver's answer."""
    vm = elsewhere(site.vm(site.disk(image, "raw")), a_stay(1, tm_mad="ssh"))

    async def work() -> None:
        driver = TmDriver(site.root, site.vms, "front", hands=site.hands())
        answer = await driver.run(an_order(EffectKind.TM_PROLOG, vm, None, LIMIT_S))
        assert answer.ok, answer.message

    asyncio.run(work())


def _scp(site: SshSite, image: Path) -> None:
    config = site.base / "ssh_config"
    target = f"host1:{site.root}/0/copy"
    subprocess.run(["scp", "-q", "-F", config, "-o", "BatchMode=yes", image, target], check=True, timeout=LIMIT_S)


def _seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
