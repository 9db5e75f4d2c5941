"""What goes wrong on the way to a host and in the middle of copies: no half disk, a reason, and a second try works."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast.drivers.tm.layout import remove
from holdfast.drivers.tm.remote import Hand, Hands
from holdfast.drivers.tm.tools import Clockwork
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.vm import Vm
from tests.unit.tm.ssh_hosts import SshHost, SshSite, a_client, descendants, find, placed, running

K = EffectKind
LARGE = 64 << 20


@pytest.fixture(scope="module")
def kept_ssh_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshSite]:
    """Two hosts for all tests; the first one's datastore is small."""
    site = SshSite(tmp_path_factory.mktemp("ssh"), datastore_mb=96)
    with running(*site.hosts):
        yield site


@pytest.fixture
def site(ssh_site: SshSite) -> SshSite:
    """They hold nothing, and answer."""
    return ssh_site


def a_large_vm(site: SshSite) -> Vm:
    """On host 1, its image full of random data."""
    image = site.root / "1/large"
    image.write_bytes(os.urandom(LARGE))
    return placed(site.vm(site.disk(image, "raw")), 1)


def same_data(site: SshSite, host: SshHost) -> bool:
    """The disk there is the image, to the last byte."""
    return (host.inside / "0/7/disk.0").read_bytes() == (site.root / "1/large").read_bytes()


def copies(host: SshHost) -> bool:
    """The host is receiving a part of the copy now."""
    drafts = list((host.inside / "0").glob("7/*.draft.*/*")) + list((host.inside / "0").glob("7.draft.*/*"))
    return any(draft.stat().st_blocks for draft in drafts)


def broken_off(site: SshSite, kind: EffectKind, vm: Vm, host: SshHost, harm: Callable[[], None]) -> Answer:
    """The answer of a step while whose copy to the host this happens."""
    harmed: list[bool] = []

    def wait() -> None:
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline and not harmed:
            if copies(host):
                harm()
                harmed.append(True)

    thread = threading.Thread(target=wait)
    thread.start()
    answer = site.run(kind, vm)
    thread.join()
    assert harmed, "the copy was over before anything happened to it"
    return answer


def kill(number: int, how: signal.Signals = signal.SIGKILL) -> None:
    assert number, "no such program runs any more"
    os.kill(number, how)


def refused(answer: Answer, *words: str) -> None:
    assert not answer.ok
    for word in words:
        assert word in answer.message, answer.message


def test_a_host_that_refuses_is_named_with_the_words_of_ssh(site: SshSite) -> None:
    vm = placed(site.vm("DISK=[DISK_ID=0, TYPE=fs, SIZE=4, FORMAT=raw]"), 1)
    site.host1.port, port = 1, site.host1.port
    answer = site.run(K.TM_PROLOG, vm)
    site.host1.port = port
    refused(answer, "(line 1: MKIMAGE ssh 4 raw host1:", "host host1 cannot be reached by ssh", "Connection refused")
    assert answer.certain


def test_a_host_that_does_not_answer_is_given_up_in_time(site: SshSite) -> None:
    vm = placed(site.vm("DISK=[DISK_ID=0, TYPE=fs, SIZE=4, FORMAT=raw]"), 1)
    port = site.host1.port
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        site.host1.port = silent.getsockname()[1]
        site.patience = {"connect_timeout_s": 1}
        answer = site.run(K.TM_PROLOG, vm)
        site.host1.port = port
    refused(answer, "host host1 cannot be reached by ssh")
    assert "the time was up" not in answer.message


def test_a_host_with_another_key_gets_nothing(site: SshSite) -> None:
    key = site.host1.base / "host_key.pub"
    text = key.read_text()
    key.write_text((site.host2.base / "host_key.pub").read_text())
    answer = site.run(K.TM_PROLOG, placed(site.vm("DISK=[DISK_ID=0, TYPE=fs, SIZE=4, FORMAT=raw]"), 1))
    key.write_text(text)
    refused(answer, "host1", "Host key verification failed")


def test_a_host_without_python_is_told_what_it_needs(tmp_path: Path) -> None:
    site = SshSite(tmp_path)
    site.host1.configure(SetEnv="PATH=/nowhere")
    with running(site.host1):
        answer = site.run(K.TM_PROLOG, placed(site.vm("DISK=[DISK_ID=0, TYPE=fs, SIZE=4, FORMAT=raw]"), 1))
    refused(answer, "host host1", "python3 cannot be run there, install it (3.11 or later)")


def test_what_a_shell_says_at_its_start_does_no_harm(tmp_path: Path) -> None:
    site = SshSite(tmp_path)
    site.image("aaa")
    noise = tmp_path / "noise"
    noise.write_text('#!/bin/sh\necho "Welcome to {host1}"\necho mind the gap >&2\nexec /bin/sh -c "$2"\n')
    noise.chmod(0o755)
    (site.host1.base / "passwd").write_text(f"hand:x:1000:1000::{tmp_path}:{noise}\n")
    with running(site.host1, site.host2):
        vm = placed(site.vm(site.disk(site.root / "1/aaa")), 1)
        assert site.run(K.TM_PROLOG, vm).ok
        assert site.run(K.TM_MIGRATE, placed(vm, 1, 2)).ok
    assert site.host2.files() == ["disk.0"]


def test_a_missing_image_is_named(site: SshSite) -> None:
    vm = placed(site.vm(site.disk(site.root / "1/aaa")), 1)
    refused(site.run(K.TM_PROLOG, vm), f"host front: image {site.root}/1/aaa does not exist")


def test_a_directory_that_may_not_be_written_is_named(site: SshSite) -> None:
    vm = placed(site.vm(site.disk(site.image("aaa"))), 2)
    (site.host2.inside / "0").chmod(0o555)
    answer = site.run(K.TM_PROLOG, vm)
    (site.host2.inside / "0").chmod(0o777)
    refused(answer, "host host2", "Permission denied", f"{site.root}/0/7")
    assert site.run(K.TM_PROLOG, vm).ok


def test_a_full_datastore_refuses_before_anything_is_written(site: SshSite) -> None:
    vm = a_large_vm(site)
    (site.host1.inside / "0/filler").write_bytes(bytes(64 << 20))
    answer = site.run(K.TM_PROLOG, vm)
    refused(answer, "host host1", f"no space is left in {site.root}/0/7: 64 MB are needed, 32 MB are free")
    (site.host1.inside / "0/filler").unlink()
    assert site.run(K.TM_PROLOG, vm).ok
    assert same_data(site, site.host1)


def test_a_datastore_that_fills_up_during_a_copy_keeps_no_half_disk(site: SshSite) -> None:
    vm = a_large_vm(site)
    filler = site.host1.inside / "0/filler"

    def fill() -> None:
        tar = site.host1.find("tar", "--extract")
        kill(tar, signal.SIGSTOP)
        about = os.statvfs(filler.parent)
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, about.f_bavail * about.f_frsize)
        kill(tar, signal.SIGCONT)

    answer = broken_off(site, K.TM_PROLOG, vm, site.host1, fill)
    refused(answer, "host host1", f"no space is left in {site.root}/0/7", f"{site.root}/0/7/disk.0.draft.")
    assert [path.name for path in (site.host1.inside / "0/7").iterdir()] == []
    filler.unlink()
    assert site.run(K.TM_PROLOG, vm).ok
    assert same_data(site, site.host1)


@pytest.mark.parametrize("which", ["receiver", "sender", "client"])
def test_a_copy_whose_program_is_killed_half_way_keeps_no_half_disk(site: SshSite, which: str) -> None:
    vm = a_large_vm(site)
    programs: dict[str, Callable[[], int]] = {
        "receiver": lambda: site.host1.find("tar", "--extract"),
        "sender": lambda: find(descendants(os.getpid()), "tar", "--create"),
        "client": lambda: find(descendants(os.getpid()), "ControlPath", "exec python3"),
    }
    answer = broken_off(site, K.TM_PROLOG, vm, site.host1, lambda: kill(programs[which]()))
    refused(answer, "host front" if which == "sender" else "host host1", "-9")
    assert not (site.host1.inside / "0/7/disk.0").exists()
    assert site.run(K.TM_PROLOG, vm).ok
    assert same_data(site, site.host1)
    assert site.leftovers() == []


def test_a_directory_that_vanishes_during_a_copy_is_an_error(site: SshSite) -> None:
    vm = a_large_vm(site)
    answer = broken_off(site, K.TM_PROLOG, vm, site.host1, lambda: remove(site.host1.inside / "0/7"))
    refused(answer, "host host1", f"{site.root}/0/7/disk.0")
    assert site.run(K.TM_PROLOG, vm).ok
    assert same_data(site, site.host1)


@pytest.mark.parametrize("side", ["host1", "host2"])
def test_a_host_that_dies_during_a_move_leaves_the_only_good_copy_alone(tmp_path: Path, side: str) -> None:
    site = SshSite(tmp_path)
    with running(*site.hosts):
        vm = a_large_vm(site)
        assert site.run(K.TM_PROLOG, vm).ok
        vm = placed(vm, 1, 2)
        dying = site.host1 if side == "host1" else site.host2
        answer = broken_off(site, K.TM_MIGRATE, vm, site.host2, dying.stop)
        refused(answer, "(line 2: MV ssh host1:", f"the connection to host {side} was lost")
        assert not answer.certain
        dying.start()
        assert (site.host1.datastores / "0/7/disk.0").exists()
        assert not (site.host2.datastores / "0/7").exists()
        assert site.probe(K.TM_MIGRATE, vm) is None
        assert site.run(K.TM_MIGRATE, vm).ok
        assert same_data(site, site.host2)
        assert site.host1.files("0") == []
        assert site.leftovers() == []


def test_a_host_that_falls_silent_during_a_copy_is_given_up_and_stops_by_itself(site: SshSite) -> None:
    vm = a_large_vm(site)
    site.patience = {"alive_interval_s": 1, "alive_count": 3}
    answer = broken_off(site, K.TM_PROLOG, vm, site.host1, site.host1.freeze)
    refused(answer, "the connection to host host1 was lost")
    site.patience = {}
    site.host1.freeze(False)
    assert site.run(K.TM_PROLOG, vm).ok
    assert same_data(site, site.host1)
    gone(site.host1, "--extract")


def test_a_hand_that_hears_nothing_any_more_stops(site: SshSite) -> None:
    """Its connection stands, but nothing comes over it: it must not work on when somebody else may have the VM."""

    async def work() -> None:
        hands = WatchedHands(site.root, "front", a_client(site.base, *site.hosts, alive_interval_s=60), silence_s=1)
        waiting = asyncio.create_task(hands.call("host1", "settle", 7, Clockwork(30), **directory(site)))
        async with asyncio.timeout(25):
            await hands.begun.wait()
        number = await found(site.host1, "exec(i.readline())")
        for server in site.host1.processes():
            if server != number:
                os.kill(server, signal.SIGSTOP)
        await asyncio.to_thread(gone, site.host1, "exec(i.readline())")
        waiting.cancel()

    with locked(site):
        try:
            asyncio.run(work())
        finally:
            site.host1.freeze(False)


def test_a_hand_whose_controller_gives_up_stops_at_once(site: SshSite) -> None:
    async def work() -> None:
        waiting = asyncio.create_task(site.hands().call("host1", "settle", 7, Clockwork(30), **directory(site)))
        await found(site.host1, "exec(i.readline())")
        waiting.cancel()
        await asyncio.to_thread(gone, site.host1, "exec(i.readline())")

    with locked(site):
        asyncio.run(work())


def test_two_hands_do_not_work_on_one_vm(site: SshSite) -> None:
    vm = placed(site.vm("DISK=[DISK_ID=0, TYPE=fs, SIZE=4, FORMAT=raw]"), 1)
    with locked(site):
        answer = site.run(K.TM_PROLOG, vm, limit_s=4)
    refused(answer, "host host1: another transfer of this VM is still under way here", f"{site.root}/.locks/7")
    assert not answer.certain
    assert site.run(K.TM_PROLOG, vm).ok


def test_a_controller_that_is_killed_during_a_copy_does_it_again(site: SshSite) -> None:
    vm = a_large_vm(site)
    controller = os.fork()
    if not controller:
        site.run(K.TM_PROLOG, vm)
        os._exit(0)
    deadline = time.monotonic() + 40
    while not copies(site.host1):
        assert time.monotonic() < deadline
    os.kill(controller, signal.SIGKILL)
    os.waitpid(controller, 0)
    gone(site.host1, "--extract")
    assert site.host1.inside.joinpath("0/7").exists()
    assert not site.host1.inside.joinpath("0/7/disk.0").exists()
    assert site.probe(K.TM_PROLOG, vm) is None
    assert site.run(K.TM_PROLOG, vm).ok
    assert same_data(site, site.host1)
    assert site.leftovers() == []


class WatchedHands(Hands):
    """Hands of which one knows when the first has all that was sent along."""

    def __init__(self, *args: Any, **values: Any) -> None:
        super().__init__(*args, **values)
        self.begun = asyncio.Event()

    @asynccontextmanager
    async def at_work(
        self, host: str, call: str, vm_id: int, clockwork: Clockwork, **values: Any
    ) -> AsyncIterator[Hand]:
        """As always, and it is told."""
        async with super().at_work(host, call, vm_id, clockwork, **values) as hand:
            self.begun.set()
            yield hand


def directory(site: SshSite) -> dict[str, str]:
    return {"path": f"{site.root}/0/7"}


@contextmanager
def locked(site: SshSite) -> Iterator[None]:
    """Somebody else works on VM 7 on host 1."""
    path = site.host1.inside / ".locks/7"
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


async def found(host: SshHost, word: str) -> int:
    """A program on the host, as soon as it runs."""
    async with asyncio.timeout(40):
        while not (number := host.find(word)):
            await asyncio.sleep(0.01)
    return number


def gone(host: SshHost, word: str) -> None:
    """Soon no such program runs there."""
    deadline = time.monotonic() + 40
    while host.find(word):
        assert time.monotonic() < deadline, f"{word} still runs on {host.name}"
        time.sleep(0.02)
