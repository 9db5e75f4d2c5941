"""Images from URLs and compressed files, with a real server: checked, decompressed, whole or not at all."""

from __future__ import annotations

import asyncio
import bz2
import gzip
import hashlib
import json
import lzma
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.drivers.image_fetch import fetch, reserve_bytes
from holdfast.drivers.images import ImageDriver
from holdfast.drivers.tm.lines import TransferError
from holdfast.engine.ports import Order
from holdfast.model.effect import Answer
from holdfast.model.enums import DatastoreType, EffectKind, ImageState, ImageType
from holdfast.model.storage import Datastore, Image
from holdfast.model.template import Template
from tests.unit.drivers.test_images import NAME, order, qemu_img, root, run, stored
from tests.unit.drivers.web import Web, served

__all__ = ["root"]

CREATE = EffectKind.IMAGE_CREATE
CONTENT = os.urandom(1 << 20) + bytes(4 << 20) + os.urandom(1 << 20)
PACKED = {"gz": gzip.compress(CONTENT, 1), "bz2": bz2.compress(CONTENT, 1), "xz": lzma.compress(CONTENT, preset=0)}


@pytest.fixture(scope="module")
def server() -> Iterator[Web]:
    """Serves the content plain, packed and in pieces."""
    with served() as web:
        web.files |= {"plain": CONTENT, "unsized": CONTENT, "cut": CONTENT, "cut.gz": PACKED["gz"]}
        web.files |= {f"image.{kind}": packed for kind, packed in PACKED.items()}
        web.files["damaged.xz"] = PACKED["xz"][: len(PACKED["xz"]) // 2]
        web.files["stall"] = bytes(1000)
        web.announced["stall"] = 1 << 20
        web.files["drip"] = os.urandom(32 << 20)
        yield web


def with_template(root: Path, limits: str = "", kind: ImageType = ImageType.OS, /, **template: str) -> Order:
    """An order whose image has these attributes, on a datastore with these."""
    path = template.pop("PATH")
    image = Image(3, "mine", 1, "default", kind, ImageState.LOCKED, template=Template(template.items()))
    rules = Template([tuple(line.split("=", 1)) for line in limits.splitlines()])  # type: ignore[misc]
    datastore = Datastore(1, "default", DatastoreType.IMAGE_DS, "shared", "fs", f"{root}/1", template=rules)
    plain = order(CREATE, root, PATH=path, DATASTORE_ID="1")
    return replace(plain, image=image, datastores={1: datastore})


def fetching(origin: str, target: Path) -> dict[str, object]:
    """The order to the program that fetches."""
    rules: dict[str, list[str]] = {"protected": [], "restricted": [], "safe": []}
    more = {"rules": rules, "limit_bytes": 1 << 62, "digests": {}, "unpack": True, "capacity_checked": True}
    return {"origin": origin, "target": str(target), **more}


def carry_out(asked: Order, root: Path) -> Answer:
    """What the driver answers."""
    return asyncio.run(ImageDriver(root).run(asked))


@pytest.mark.parametrize("name", ["plain", "unsized", "image.gz", "image.bz2", "image.xz"])
def test_a_url_becomes_an_image_decompressed_and_with_its_holes(root: Path, server: Web, name: str) -> None:
    assert run(CREATE, root, PATH=f"{server.url}/{name}") == Answer(ok=True, values={"SIZE": "6", "FORMAT": "raw"})
    made = root / "1" / NAME
    assert made.read_bytes() == CONTENT
    assert made.stat().st_blocks * 512 < 3 << 20
    assert stored(root) == [NAME]


@pytest.mark.parametrize("kind", sorted(PACKED))
def test_a_compressed_file_is_decompressed_unless_the_template_says_no(root: Path, tmp_path: Path, kind: str) -> None:
    (tmp_path / "mine").write_bytes(PACKED[kind])
    assert run(CREATE, root, PATH=f"file://{tmp_path}/mine").ok
    assert (root / "1" / NAME).read_bytes() == CONTENT
    assert carry_out(with_template(root, PATH=str(tmp_path / "mine"), NO_DECOMPRESS="yes"), root).ok
    assert (root / "1" / NAME).read_bytes() == PACKED[kind]


def test_a_compressed_qcow2_image_is_judged_by_what_it_holds(root: Path, tmp_path: Path) -> None:
    qemu_img("create", "-f", "qcow2", tmp_path / "mine", "10M")
    (tmp_path / "mine.gz").write_bytes(gzip.compress((tmp_path / "mine").read_bytes()))
    answer = run(CREATE, root, PATH=str(tmp_path / "mine.gz"))
    assert answer == Answer(ok=True, values={"SIZE": "10", "FORMAT": "qcow2"})


@pytest.mark.parametrize("name", ["MD5", "SHA1", "SHA256", "SHA512"])
@pytest.mark.parametrize("origin", ["file", "url"])
def test_a_checksum_is_that_of_the_file_as_it_was_given(
    root: Path, tmp_path: Path, server: Web, name: str, origin: str
) -> None:
    (tmp_path / "mine").write_bytes(PACKED["gz"])
    path = f"{server.url}/image.gz" if origin == "url" else str(tmp_path / "mine")
    digest = hashlib.new(name.lower(), PACKED["gz"]).hexdigest()
    assert carry_out(with_template(root, PATH=path, **{name: digest.upper()}), root).ok
    assert (root / "1" / NAME).read_bytes() == CONTENT
    (root / "1" / NAME).unlink()
    wrong = carry_out(with_template(root, PATH=path, **{name: "0" * len(digest)}), root)
    assert (wrong.ok, wrong.certain) == (False, True)
    assert f"{path}: the file's {name} is {digest}, the image's template says 000" in wrong.message
    assert stored(root) == []


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("none", "the server answers 404"),
        ("cut", f"/cut: the connection ended early: {3 << 20} of {6 << 20} bytes came"),
        ("cut.gz", "ended early"),
        ("damaged.xz", "/damaged.xz: the file is damaged, it cannot be decompressed (xz"),
        ("to=", "its redirections lead nowhere"),
        ("to=file:///etc/hostname", "cannot be fetched"),
        ("to=ftp://127.0.0.1/x", "cannot be fetched"),
        (
            "garbage",
            "/garbage cannot be fetched: the server does not answer as a web server does (BadStatusLine: SSH-2.0",
        ),
    ],
)
def test_what_does_not_come_whole_leaves_nothing_and_says_why(root: Path, server: Web, path: str, why: str) -> None:
    answer = run(CREATE, root, PATH=f"{server.url}/{path}")
    assert (answer.ok, answer.certain) == (False, True)
    assert why in answer.message
    assert answer.message.isprintable()  # one line
    assert stored(root) == []


def test_a_server_that_goes_silent_is_named_with_what_came(
    root: Path, server: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("holdfast.drivers.image_fetch._STALL_S", 0.3)
    with pytest.raises(TransferError) as refused:
        fetch(fetching(f"{server.url}/stall", root / "x"), lambda done, total: said.append(str(done)))
    assert refused.value.message.startswith(f"{server.url}/stall: reading stopped after 1000 bytes: timed out; see ")


def test_a_server_without_tls_is_named_and_a_port_that_cannot_be(root: Path, server: Web) -> None:
    said = run(CREATE, root, PATH=f"{server.url.replace('http', 'https')}/plain").message
    assert "/plain cannot be fetched: the server does not speak TLS" in said
    assert said.endswith("perhaps it is http://")
    said = run(CREATE, root, PATH="http://127.0.0.1:99999999/x").message
    assert said.startswith("PATH http://127.0.0.1:99999999/x names a port that does not exist")


def test_what_has_no_announced_end_never_takes_the_last_room_of_a_disk(
    root: Path, server: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = os.statvfs(root)
    monkeypatch.setattr("holdfast.drivers.image_fetch.reserve_bytes", lambda path: free.f_blocks * free.f_frsize)
    fetch(fetching(f"{server.url}/plain", root / "x"), lambda done, total: None)  # it says how big it is
    with pytest.raises(TransferError) as refused:
        fetch(fetching(f"{server.url}/unsized", root / "y"), lambda done, total: None)
    assert f"{server.url}/unsized needs at least 1 MB, 0 MB are left besides a reserve of " in refused.value.message


def test_the_reserve_of_a_disk_is_a_small_part_of_it(root: Path) -> None:
    found = os.statvfs(root)
    assert 0 < reserve_bytes(str(root / "x")) <= min(1 << 30, found.f_blocks * found.f_frsize // 50)


def test_a_redirection_within_the_web_is_followed(root: Path, server: Web) -> None:
    assert run(CREATE, root, PATH=f"{server.url}/to={server.url}/plain").ok


def test_a_server_that_is_not_there_is_named(root: Path) -> None:
    answer = run(CREATE, root, PATH="http://127.0.0.1:9/image")
    assert "http://127.0.0.1:9/image cannot be fetched: [Errno 111] Connection refused" in answer.message


@pytest.mark.parametrize("name", ["plain", "unsized", "image.xz"])
def test_what_is_bigger_than_the_room_is_refused_before_or_while_it_comes(root: Path, server: Web, name: str) -> None:
    answer = run(CREATE, root, PATH=f"{server.url}/{name}", ROOM_MB="1")
    assert (answer.ok, answer.certain) == (False, True)
    assert "the datastore is full: " in answer.message
    assert "1 MB are left (onedatastore show)" in answer.message
    assert stored(root) == []


def test_a_file_of_this_machine_that_is_too_big_is_refused_before_it_is_written(root: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(CONTENT)
    assert (
        f"{tmp_path}/mine needs 6 MB, 1 MB are left" in run(CREATE, root, PATH=f"{tmp_path}/mine", ROOM_MB="1").message
    )
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(1 << 30)
    assert run(CREATE, root, PATH=f"{tmp_path}/hole", ROOM_MB="1").ok


def test_without_a_check_of_capacity_holes_need_no_room_wherever_they_come_from(
    root: Path, server: Web, tmp_path: Path
) -> None:
    huge = 1 << 50  # more than any disk has left
    server.files["announced"] = CONTENT
    server.announced["announced"] = huge
    refused = run(CREATE, root, PATH=f"{server.url}/announced", ROOM_MB="1")
    assert f"needs {huge >> 20} MB, 1 MB are left" in refused.message
    begun = run(CREATE, root, PATH=f"{server.url}/announced")
    assert f"/announced: the connection ended early: {len(CONTENT)} of {huge} bytes came" in begun.message
    assert stored(root) == []


def test_a_copy_that_does_not_fit_is_refused(root: Path) -> None:
    (root / "1/origin").write_bytes(CONTENT)
    answer = run(EffectKind.IMAGE_CLONE, root, FROM=f"{root}/1/origin", ROOM_MB="1")
    assert "origin needs 6 MB, 1 MB are left" in answer.message
    assert stored(root) == ["origin"]


def test_a_download_is_given_up_when_the_time_is_up_and_leaves_nothing(root: Path, server: Web) -> None:
    answer = run(CREATE, root, 1.5, PATH=f"{server.url}/drip")
    assert (answer.ok, answer.certain) == (False, False)
    assert "was given up, the time was up" in answer.message
    assert stored(root) == []


def test_how_far_a_download_is_can_be_seen(root: Path, server: Web) -> None:
    async def scenario() -> tuple[int, int]:
        driver = ImageDriver(root)
        task = asyncio.create_task(driver.run(order(CREATE, root, PATH=f"{server.url}/drip")))
        async with asyncio.timeout(15):
            while not ((seen := driver.accounts.progress_of(3)) and seen.done_bytes > 1 << 17):
                await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.wait({task})
        assert driver.accounts.progress_of(3) is None
        return seen.done_bytes, seen.total_bytes

    done, total = asyncio.run(scenario())
    assert total == 32 << 20
    assert done < total
    assert stored(root) == []


def test_the_program_that_fetches_ends_when_nobody_listens_any_more(tmp_path: Path, server: Web) -> None:
    asked = fetching(f"{server.url}/drip", tmp_path / "x")
    argv = [sys.executable, "-P", "-m", "holdfast.drivers.image_fetch"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as program:
        assert program.stdin
        assert program.stdout
        program.stdin.write(json.dumps(asked).encode())
        program.stdin.close()
        assert json.loads(program.stdout.readline())["total"] == 32 << 20
        program.stdout.close()
        began = time.monotonic()
        assert program.wait(10) != 0
        assert time.monotonic() - began < 8


def test_restricted_directories_and_their_exceptions_are_the_datastores_own(root: Path, tmp_path: Path) -> None:
    (tmp_path / "safe").mkdir()
    for name in ("mine", "safe/mine"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "safe/link").symlink_to(tmp_path / "mine")
    limits = f"RESTRICTED_DIRS=/srv {tmp_path}\nSAFE_DIRS={tmp_path}/safe"
    assert carry_out(with_template(root, limits, PATH=f"{tmp_path}/safe/mine"), root).ok
    for path in ("mine", "safe/link"):
        answer = carry_out(with_template(root, limits, PATH=f"{tmp_path}/{path}"), root)
        assert (
            f"is in {tmp_path}, which is one of the datastore's RESTRICTED_DIRS; only {tmp_path}/safe" in answer.message
        )
    everything = carry_out(with_template(root, "RESTRICTED_DIRS=/", PATH=f"{tmp_path}/mine"), root)
    assert "SAFE_DIRS names no exception" in everything.message
    never = carry_out(with_template(root, "SAFE_DIRS=/etc", PATH="/etc/hostname"), root)
    assert "is in /etc, whose files cannot be registered" in never.message


def test_a_kernel_is_a_file_and_not_judged_as_a_disk(root: Path, tmp_path: Path) -> None:
    qemu_img("create", "-f", "vdi", tmp_path / "vmlinuz", "1M")
    answer = carry_out(with_template(root, "", ImageType.KERNEL, PATH=f"{tmp_path}/vmlinuz"), root)
    assert answer.values["FORMAT"] == "raw"
    assert not carry_out(with_template(root, "", ImageType.OS, PATH=f"{tmp_path}/vmlinuz"), root).ok
