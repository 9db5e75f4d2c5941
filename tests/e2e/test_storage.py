"""Images, datastores and the check of storage with the real controller, its commands and real files; no rack."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.daemon import Daemon, until
from tests.unit.drivers.web import Web, served

CONTENT = bytes(range(256)) * 8192


@pytest.fixture
def web() -> Iterator[Web]:
    """A server with an image, plain and packed."""
    with served() as server:
        server.files |= {"disk.raw": CONTENT, "disk.gz": gzip.compress(CONTENT), "drip": bytes(range(256)) * 16384}
        yield server


def state(daemon: Daemon, image: str) -> str:
    """The image's STATE."""
    return str(daemon.one.image.info(int(image)).STATE)


def created(daemon: Daemon, *words: str) -> str:
    """A new image, when its import is over."""
    image = daemon.done("oneimage", "create", "-d", "default", *words).split()[-1]
    until(lambda: state(daemon, image) not in ("4", "9"), what=f"image {image} is not locked")
    return image


def source(daemon: Daemon, image: str) -> Path:
    """The image's file."""
    return Path(daemon.one.image.info(int(image)).SOURCE)


def findings(daemon: Daemon, code: int) -> list[tuple[str, str]]:
    """What ``holdfast check storage`` finds."""
    ended = daemon.run("holdfast", "check", "storage", "-j")
    assert ended.returncode == code, f"{ended.stdout} {ended.stderr}"
    report = json.loads(ended.stdout)["STORAGE_CHECK"]
    listed = report["FINDINGS"].get("FINDING", []) if report["FINDINGS"] else []
    return [(finding["KIND"], Path(finding["PATH"]).name) for finding in listed]


def test_an_image_comes_from_a_url_is_copied_locked_and_goes(daemon: Daemon, web: Web) -> None:
    digest = hashlib.sha256(web.files["disk.gz"]).hexdigest()
    image = created(daemon, "--name", "web", "--path", f"{web.url}/disk.gz", "--sha256", digest)
    assert state(daemon, image) == "1"
    assert source(daemon, image).read_bytes() == CONTENT
    copy = daemon.done("oneimage", "clone", image, "copy").split()[-1]
    until(lambda: state(daemon, copy) == "1", what="the copy is ready")
    assert source(daemon, copy).read_bytes() == CONTENT
    assert state(daemon, image) == "1"
    daemon.done("oneimage", "lock", copy)
    assert f"The resource image is locked. [{copy}]" in daemon.refused("oneimage", "delete", copy)
    assert "Use" in daemon.done("oneimage", "show", copy)
    daemon.done("oneimage", "unlock", copy)
    daemon.done("oneimage", "delete", f"{image},{copy}")
    until(lambda: not daemon.one.imagepool.info(-2, -1, -1).IMAGE, what="the images are gone")
    assert findings(daemon, 0) == []


def test_an_import_that_fails_says_why_and_is_tried_again_when_the_cause_is_gone(daemon: Daemon, web: Web) -> None:
    image = created(daemon, "--name", "late", "--path", f"{web.url}/later")
    assert state(daemon, image) == "5"
    assert "the server answers 404" in daemon.done("oneimage", "show", image)
    web.files["later"] = CONTENT
    daemon.done("oneimage", "enable", image)
    until(lambda: state(daemon, image) == "1", what="the image is ready")
    assert "server answers" not in daemon.done("oneimage", "show", image)


def test_an_import_that_a_crash_interrupts_is_done_again_and_leaves_nothing_behind(daemon: Daemon, web: Web) -> None:
    image = daemon.done("oneimage", "create", "-d", "default", "--name", "slow", "--path", f"{web.url}/drip").split()[
        -1
    ]
    folder = source(daemon, image).parent
    until(lambda: list(folder.glob("*.draft.*")), what="the download has begun")
    until(lambda: "IMPORT_PERCENT" in daemon.done("oneimage", "show", image), what="its progress is shown")
    assert findings(daemon, 0) == [], "a download that is under way is no orphan"
    daemon.kill()
    daemon.start()
    until(lambda: state(daemon, image) == "1", limit_s=40, what="the image is ready")
    assert source(daemon, image).read_bytes() == web.files["drip"]
    assert [entry.name for entry in folder.iterdir()] == [source(daemon, image).name]


def test_the_datastores_are_measured_and_a_full_one_refuses(daemon: Daemon, web: Web) -> None:
    total = shutil.disk_usage(daemon.var).total >> 20
    until(lambda: int(daemon.one.datastore.info(1).TOTAL_MB) == total, what="the datastore is measured")
    daemon.done("onedatastore", "update", "1", "--append", stdin="LIMIT_MB = 1")
    until(lambda: int(daemon.one.datastore.info(1).USED_MB) == 0, what="the datastore's own files are counted")
    said = daemon.refused("oneimage", "create", "-d", "default", "--name", "big", "--size", "1g")
    assert 'Not enough space in datastore 1 (default): image "big" needs 1024 MB' in said
    image = created(daemon, "--name", "file", "--path", f"{web.url}/disk.raw")
    assert state(daemon, image) == "5"
    assert "needs 2 MB, 1 MB are left" in daemon.done("oneimage", "show", image)
    assert findings(daemon, 0) == []


def test_the_check_of_storage_finds_one_of_each_and_tells_it_from_what_is_in_use(daemon: Daemon, web: Web) -> None:
    host = daemon.host("front-row")
    image = created(daemon, "--name", "base", "--path", f"{web.url}/disk.raw")
    lost = created(daemon, "--name", "lost", "--size", "1m")
    vms = [
        daemon.done("onevm", "create", "--name", name, "--cpu", "0.1", "--memory", "64", "--disk", "base").split()[-1]
        for name in ("kept", "robbed")
    ]
    for vm in vms:
        until(lambda vm=vm: daemon.one.vm.info(int(vm)).LCM_STATE == 3, what=f"VM {vm} runs on host {host}")  # type: ignore[misc]
    assert findings(daemon, 0) == []
    system = daemon.var / "datastores/0"
    (system / vms[1] / "disk.0").unlink()
    (system / "4711").mkdir()
    (system / vms[0] / "disk.0.draft.0123").touch()
    (system.parent / "1/nobodys").touch()
    source(daemon, lost).unlink()
    assert findings(daemon, 1) == [
        ("MISSING", "disk.0"),
        ("MISSING", source(daemon, lost).name),
        ("ORPHAN", "4711"),
        ("ORPHAN", "nobodys"),
        ("REMNANT", "disk.0.draft.0123"),
    ]
    screen = daemon.run("holdfast", "check", "storage").stdout
    assert f"MISSING  datastore 0, VM {vms[1]}: it does not exist" in screen
    assert image
    daemon.kill()
    blind = daemon.run("holdfast", "check", "storage", "--endpoint", "http://127.0.0.1:9/RPC2")
    assert blind.returncode == 2
