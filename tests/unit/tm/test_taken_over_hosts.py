"""A host that somebody has taken over keeps to itself: what it sends reaches no other file, on no other machine."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.drivers.piped import piped
from holdfast.drivers.ssh import Ssh, SshSettings
from holdfast.drivers.tm.account import Account
from holdfast.drivers.tm.inspection import insist_on_own_layers, insist_on_plain_tree, insist_on_whole_image
from holdfast.drivers.tm.lines import TransferError
from holdfast.drivers.tm.remote import Hand
from holdfast.drivers.tm.tools import Clockwork
from holdfast.model.enums import EffectKind
from holdfast.model.snapshot import DiskSnapshots
from tests.unit.tm.ssh_hosts import PERSISTENT, SshSite, ok, placed

K = EffectKind
ORIGIN = "host1:/ds/0/7"


@pytest.fixture
def site(ssh_site: SshSite) -> SshSite:
    """Two hosts that hold nothing yet."""
    return ssh_site


def test_a_disk_that_is_a_link_to_a_file_of_the_machine_does_not_go_to_another(site: SshSite) -> None:
    vm = placed(site.vm(site.disk(site.image("aaa", "raw"), "raw")), 1)
    ok(site.run(K.TM_PROLOG, vm))
    disk = site.host1.directory / "disk.0"
    disk.rename(disk.with_name("kept"))
    disk.symlink_to("/etc/shadow")
    answer = site.run(K.TM_MIGRATE, placed(vm, 1, 2))
    assert not answer.ok
    for word in ("disk.0 of", "is a link to /etc/shadow", "host1", "try again"):
        assert word in answer.message
    assert site.host2.files("0") == []
    assert site.host1.files() == ["disk.0", "kept"], "nothing is lost"
    disk.unlink()
    disk.with_name("kept").rename(disk)
    ok(site.run(K.TM_MIGRATE, placed(vm, 1, 2)))


@pytest.mark.parametrize("step", [K.TM_MIGRATE, K.TM_STOP])
def test_a_layer_over_a_file_of_the_machine_does_not_go_to_another(site: SshSite, step: EffectKind) -> None:
    vm = placed(site.vm(site.disk(site.image("aaa"))), 1)
    ok(site.run(K.TM_PROLOG, vm))
    rebase(site.host1.directory / "disk.0", "/etc/shadow")
    answer = site.run(step, placed(vm, 1, 2) if step is K.TM_MIGRATE else vm)
    assert not answer.ok
    assert "disk.0 of" in answer.message
    assert "is based on /etc/shadow" in answer.message
    assert (site.host2.files("0"), site.files("0")) == ([], [])


@pytest.mark.parametrize("image_format", ["raw", "qcow2"])
def test_layers_of_the_vm_itself_go_along(site: SshSite, image_format: str) -> None:
    vm = placed(site.vm(site.disk(site.image("aaa", image_format), image_format)), 1)
    ok(site.run(K.TM_PROLOG, vm))
    for item in range(2):
        ok(site.run(K.TM_SNAPSHOT_CREATE, vm, DISK_ID=0, ITEM=item))
    ok(site.run(K.TM_MIGRATE, placed(vm, 1, 2)))
    assert site.holds(site.host2.directory / "disk.0", image_format, "0xab")


@pytest.mark.parametrize("snapshots", [0, 1])
def test_an_image_that_comes_back_over_a_file_of_the_machine_is_refused(site: SshSite, snapshots: int) -> None:
    image = site.image("aaa")
    vm = placed(site.vm(site.disk(image, "qcow2", PERSISTENT)), 1)
    ok(site.run(K.TM_PROLOG, vm))
    if snapshots:
        ok(site.run(K.TM_SNAPSHOT_CREATE, vm, DISK_ID=0, ITEM=0))
        vm = replace(vm, snapshots=(DiskSnapshots(0, next_oid=1),))
    lowest = site.host1.directory / ("disk.0.snap/0" if snapshots else "disk.0")
    rebase(lowest, "/etc/shadow")
    answer = site.run(K.TM_EPILOG, vm)
    assert not answer.ok
    assert f"{site.host1.name}" in answer.message
    assert "backing file /etc/shadow" in answer.message
    assert "backing-filename" not in site.info(image)
    assert site.holds(image, "qcow2", "0xab"), "the image is as it was"
    assert "disk.0" in site.host1.files()
    assert not site.leftovers()


def test_an_image_comes_back_in_the_format_that_it_had(site: SshSite) -> None:
    image = site.image("aaa")
    vm = placed(site.vm(site.disk(image, "qcow2", PERSISTENT)), 1)
    ok(site.run(K.TM_PROLOG, vm))
    (site.host1.directory / "disk.0").write_bytes(bytes(4 << 20))
    answer = site.run(K.TM_EPILOG, vm)
    assert not answer.ok
    assert "cannot be read as qcow2" in answer.message
    assert site.holds(image, "qcow2", "0xab")


def test_a_guest_may_write_an_image_into_its_raw_disk(site: SshSite) -> None:
    image = site.image("aaa", "raw")
    vm = placed(site.vm(site.disk(image, "raw", PERSISTENT)), 1)
    ok(site.run(K.TM_PROLOG, vm))
    other = site.image("bbb")
    (site.host1.directory / "disk.0").write_bytes(other.read_bytes())
    ok(site.run(K.TM_EPILOG, vm))
    assert image.read_bytes() == other.read_bytes()


def absolute_link(directory: Path) -> str:
    """An absolute link, even where it leads back."""
    (directory / "disk.0").symlink_to(directory / "deployment.0")
    return "is a link to"


def link_out(directory: Path) -> str:
    """A relative link that climbs out."""
    (directory / "disk.0.snap").mkdir()
    (directory / "disk.0.snap/0").symlink_to("../../../1/image")
    return "is a link to ../../../1/image"


def link_over_a_link(directory: Path) -> str:
    """A link that climbs out over another link."""
    (directory / "a/b").mkdir(parents=True)
    (directory / "a/b/up").symlink_to("..")
    (directory / "disk.0").symlink_to("a/b/up/../../other")
    return "disk.0 of /ds/0/7 is a link to"


def link_back_in(directory: Path) -> str:
    """A link that leads out and back in again, which is no way elsewhere."""
    (directory / "disk.0").symlink_to(f"../{directory.name}/deployment.0")
    return "is a link to"


def hard_link(directory: Path) -> str:
    """A second name of a file outside."""
    outside = directory.parent / "outside"
    outside.touch()
    os.link(outside, directory / "disk.0")
    return "disk.0 of /ds/0/7 is a hard link"


def pipe(directory: Path) -> str:
    """A pipe."""
    os.mkfifo(directory / "disk.0")
    return "is neither a file nor a directory"


def door(directory: Path) -> str:
    """A socket."""
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.open(directory, os.O_RDONLY)
        listening.bind(f"/proc/self/fd/{here}/disk.0")
        os.close(here)
    return "is neither a file nor a directory"


def program(directory: Path) -> str:
    """A program with its owner's rights."""
    (directory / "disk.0").touch()
    (directory / "disk.0").chmod(0o4755)
    return "would run with its owner's rights"


@pytest.mark.parametrize(
    "plant", [absolute_link, link_out, link_over_a_link, link_back_in, hard_link, pipe, door, program]
)
def test_what_reaches_out_of_a_directory_is_refused(tmp_path: Path, plant: Callable[[Path], str]) -> None:
    directory = a_directory(tmp_path)
    said = plant(directory)
    with pytest.raises(TransferError) as refused:
        insist_on_plain_tree(directory, ORIGIN)
    assert said in refused.value.message
    assert "it was not accepted from host1" in refused.value.message


def test_what_stays_in_a_directory_is_taken(tmp_path: Path) -> None:
    directory = a_directory(tmp_path)
    layers = directory / "disk.0.snap"
    layers.mkdir(mode=0o2755)
    layers.chmod(0o2755)
    (layers / "0").touch()
    os.link(layers / "0", layers / "5")
    (layers / "disk.0.snap").symlink_to(".")
    (layers / "1").symlink_to("5")
    (directory / "disk.0").symlink_to("disk.0.snap/1")
    (directory / "disk.1").symlink_to("disk.1.snap/0")
    insist_on_plain_tree(directory, ORIGIN)
    assert layers.stat().st_mode & 0o7777 == 0o755


@pytest.mark.parametrize("base", ["/etc/passwd", "../../other", "disk.0.snap/../../x", "nbd://127.0.0.1/a", "missing"])
def test_a_layer_is_based_on_layers_beside_it_only(tmp_path: Path, base: str) -> None:
    directory = a_directory(tmp_path)
    layers = directory / "disk.0.snap"
    layers.mkdir()
    (layers / "disk.0.snap").symlink_to(".")
    qcow2(layers / "0")
    rebase(qcow2(layers / "1"), "disk.0.snap/0", "qcow2")
    look_at_layers(directory, "disk.0", "disk.7")
    rebase(layers / "0", base, "qcow2")
    with pytest.raises(TransferError, match=r"disk.0.snap/0 of .* is based on .* host1"):
        look_at_layers(directory, "disk.0")


def test_what_a_layer_is_based_on_is_looked_at_too(tmp_path: Path) -> None:
    directory = a_directory(tmp_path)
    rebase(qcow2(directory / "disk.0"), "hidden", "qcow2")
    qcow2(directory / "hidden")
    look_at_layers(directory, "disk.0")
    rebase(directory / "hidden", "/etc/passwd", "raw")
    with pytest.raises(TransferError, match=r"hidden of .* is based on /etc/passwd"):
        look_at_layers(directory, "disk.0")
    rebase(directory / "disk.0", "hidden", "raw")
    look_at_layers(directory, "disk.0")


def test_a_data_file_is_refused(tmp_path: Path) -> None:
    disk = a_directory(tmp_path) / "disk.0"
    options = ("-o", f"data_file={tmp_path / 'data'}")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, disk, "1M"], check=True)
    with pytest.raises(TransferError, match="has the data file"):
        look_at_layers(disk.parent, "disk.0")
    with pytest.raises(TransferError, match="has the data file"):
        asyncio.run(look_at_image(disk))


def a_directory(base: Path) -> Path:
    """A VM's directory with what every VM has."""
    directory = base / "7.draft.0af"
    directory.mkdir()
    (directory / "deployment.0").touch()
    return directory


def qcow2(path: Path) -> Path:
    """An empty image."""
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "1M"], check=True)
    return path


def rebase(path: Path, base: str, base_format: str = "raw") -> None:
    """The header says that the image is based on this."""
    subprocess.run(["qemu-img", "rebase", "-u", "-F", base_format, "-b", base, path], check=True)


def look_at_layers(directory: Path, *disks: str) -> None:
    """As it is done when a directory has arrived."""

    async def look() -> None:
        await insist_on_own_layers(directory, disks, ORIGIN, Clockwork(10.0))

    asyncio.run(look())


async def look_at_image(file: Path) -> None:
    """As it is done when an image has come back."""
    await insist_on_whole_image(file, "qcow2", f"{ORIGIN}/disk.0", Clockwork(10.0))


@pytest.mark.parametrize(
    "said",
    [
        '{"log": 5}',
        '{"log": [1, 2]}',
        '{"copied": [1]}',
        '{"copied": ["a", 1.5e999]}',
        "[" * 5000,
        "{" + '"a":{' * 9999,
    ],
)
def test_what_no_hand_says_is_not_heard(said: str) -> None:
    heard: list[object] = []

    async def work() -> object:
        async with piped(["sh", "-c", "cat; echo; echo '{\"answer\": 7}'"]) as program:
            await program.write(f"{said}\n".encode())
            program.end_input()
            account = Account(lambda *words: heard.append(words))
            return await Hand(the_client(), "host1", program, Clockwork(5.0, account), is_here=True).answer()

    assert asyncio.run(work()) == 7
    assert not heard


def test_a_host_may_not_fill_the_log(tmp_path: Path) -> None:
    async def work() -> None:
        async with piped(["sh", "-c", 'exec yes \'{"log": ["I", "hello"]}\'']) as program:
            await Hand(the_client(), "host1", program, Clockwork(10.0), is_here=True).answer()

    with pytest.raises(TransferError, match="host1: it said more than 1000 things"):
        asyncio.run(work())


def test_a_file_whose_name_is_no_text_goes_along(site: SshSite) -> None:
    vm = placed(site.vm(site.disk(site.image("aaa", "raw"), "raw")), 1)
    ok(site.run(K.TM_PROLOG, vm))
    name = b"core.\xff\xfe"
    (site.host1.directory / os.fsdecode(name)).write_text("core")
    ok(site.run(K.TM_MIGRATE, placed(vm, 1, 2)))
    assert name in os.listdir(os.fsencode(site.host2.directory))


def the_client() -> Ssh:
    """A client that is asked for nothing."""
    return Ssh(SshSettings(Path("/nonexistent/control")))
