"""Registering, making and deleting images with real qemu-img: whole or not at all, none that reads other files."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from holdfast.drivers.image_origin import PROTECTED
from holdfast.drivers.images import ImageDriver
from holdfast.engine.ports import Order
from holdfast.model.effect import Answer, Effect
from holdfast.model.enums import EffectKind

NAME = "0123456789abcdef0123456789abcdef"
CREATE, CLONE, DELETE = EffectKind.IMAGE_CREATE, EffectKind.IMAGE_CLONE, EffectKind.IMAGE_DELETE

ON_A_FULL_DATASTORE = """
import asyncio, pathlib, subprocess, sys
sys.path.insert(0, sys.argv[2])
from tests.unit.drivers.test_images import order
from holdfast.drivers.images import ImageDriver
from holdfast.model.enums import EffectKind
root = pathlib.Path(sys.argv[1]) / "datastores"
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", root / "1"], check=True)
answer = asyncio.run(ImageDriver(root).run(order(EffectKind.IMAGE_CREATE, root, PATH=str(root.parent / "big"))))
print(answer.ok, answer.certain, answer.message, sorted(path.name for path in (root / "1").iterdir()))
"""


def order(kind: EffectKind, root: Path, limit_s: float = 20, /, **args: str) -> Order:
    """An effect on the image of datastore 1."""
    now = time.time()
    return Order(Effect(1, kind, 3, -1, now, now + limit_s, 1, args={"SOURCE": f"{root}/1/{NAME}", **args}))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The datastores' directory."""
    (tmp_path / "datastores/1").mkdir(parents=True)
    return tmp_path / "datastores"


def run(kind: EffectKind, root: Path, limit_s: float = 20, /, **args: str) -> Answer:
    """Carries out an order."""
    return asyncio.run(ImageDriver(root).run(order(kind, root, limit_s, **args)))


def stored(root: Path) -> list[str]:
    """What lies in the datastore."""
    return sorted(path.name for path in (root / "1").iterdir())


def qemu_img(*words: str | Path) -> None:
    """Prepares an image."""
    subprocess.run(["qemu-img", *words], check=True, stdout=subprocess.DEVNULL)


def test_a_file_is_copied_and_described(root: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.qcow2"
    qemu_img("create", "-f", "qcow2", mine, "10M")
    answer = run(CREATE, root, PATH=str(mine), FORMAT="qcow2")
    assert answer == Answer(ok=True, values={"SIZE": "10", "FORMAT": "qcow2"})
    assert (root / "1" / NAME).read_bytes() == mine.read_bytes()
    assert stored(root) == [NAME]


def test_holes_stay_holes_and_sizes_are_rounded_up(root: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.raw"
    with open(mine, "wb") as file:
        file.write(b"head")
        file.seek(40 << 20)
        file.write(b"middle")
        file.truncate((64 << 20) + 1)
    assert run(CREATE, root, PATH=str(mine)) == Answer(ok=True, values={"SIZE": "65", "FORMAT": "raw"})
    copy = root / "1" / NAME
    assert copy.stat().st_blocks * 512 < 2 << 20
    assert copy.read_bytes() == mine.read_bytes()


def test_a_tiny_file_is_a_raw_image(root: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"x")
    assert run(CREATE, root, PATH=str(tmp_path / "mine")).values == {"SIZE": "1", "FORMAT": "raw"}


def test_an_empty_file_is_no_image(root: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    assert "the file is empty, 0 bytes" in run(CREATE, root, PATH=str(tmp_path / "mine")).message
    assert stored(root) == []


def test_an_image_is_of_the_format_that_was_asked_for_or_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"x" * 4096)
    said = run(CREATE, root, PATH=f"{tmp_path}/mine", FORMAT="qcow2").message
    assert said.startswith(f"{tmp_path}/mine is raw, the image's template says qcow2: ")
    assert "qemu-img convert -O qcow2" in said
    assert stored(root) == []


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_an_image_from_a_file_grows_to_the_size_that_was_asked_for_and_never_shrinks(
    root: Path, tmp_path: Path, kind: str
) -> None:
    qemu_img("create", "-f", kind, tmp_path / "mine", "10M")
    asked = {"PATH": f"{tmp_path}/mine", "FORMAT": kind}
    assert "is a disk of 10 MB, SIZE says 9 MB" in run(CREATE, root, **asked, SIZE="9").message
    assert stored(root) == []
    assert run(CREATE, root, **asked, SIZE="24").values == {"SIZE": "24", "FORMAT": kind}


@pytest.mark.parametrize(("wanted", "made"), [("qcow2", "qcow2"), ("raw", "raw"), ("", "raw")])
def test_an_empty_image_is_made_without_path(root: Path, wanted: str, made: str) -> None:
    assert run(CREATE, root, SIZE="7", FORMAT=wanted) == Answer(ok=True, values={"SIZE": "7", "FORMAT": made})
    assert stored(root) == [NAME]


def test_a_repeated_order_and_the_remnants_of_a_crash_do_no_harm(root: Path) -> None:
    (root / "1" / f"{NAME}.draft.old").write_text("half")
    assert run(CREATE, root, SIZE="7", FORMAT="raw").ok
    assert run(CREATE, root, SIZE="7", FORMAT="qcow2").ok
    assert stored(root) == [NAME]


def test_images_that_read_other_files_are_refused(root: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    qemu_img("create", "-f", "raw", secret, "1M")
    backed, external = tmp_path / "backed", tmp_path / "external"
    qemu_img("create", "-f", "qcow2", "-b", secret, "-F", "raw", backed)
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={secret}", external, "1M")
    for path, why in ((backed, "backing file"), (external, "data file")):
        answer = run(CREATE, root, PATH=str(path))
        assert (answer.ok, answer.certain) == (False, True)
        assert f"the image has the {why} {secret}" in answer.message
    assert stored(root) == []


def test_other_formats_are_refused_with_a_way_out(root: Path, tmp_path: Path) -> None:
    qemu_img("create", "-f", "vdi", tmp_path / "mine.vdi", "1M")
    answer = run(CREATE, root, PATH=str(tmp_path / "mine.vdi"))
    assert "format vdi; convert it first: qemu-img convert" in answer.message
    assert stored(root) == []


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/etc/hostname", "is in /etc"),
        ("/proc/self/status", "is in /proc"),
        ("{tmp}/link", "is in /etc"),
        ("{tmp}/../../../../../../etc/hostname", "is in /etc"),
        ("/dev/null", "not a regular file"),
        ("{tmp}", "not a regular file"),
        ("{tmp}/fifo", "not a regular file"),
        ("{tmp}/none", "cannot be read: No such file"),
        ("mine.raw", "is not absolute"),
        ("ftp://example.com/image", "is not absolute"),
        ("http://user:secret@example.com/image", "URL with a user in it"),
        ("file://elsewhere/image", "names another machine"),
        ("file:///etc/hostname", "is in /etc"),
    ],
)
def test_what_may_not_or_cannot_be_registered_says_why(root: Path, tmp_path: Path, path: str, why: str) -> None:
    (tmp_path / "link").symlink_to("/etc/hostname")
    os.mkfifo(tmp_path / "fifo")
    answer = run(CREATE, root, 5, PATH=path.format(tmp=tmp_path))
    assert (answer.ok, answer.certain) == (False, True)
    assert why in answer.message
    assert stored(root) == []


def test_further_directories_can_be_protected(root: Path, tmp_path: Path) -> None:
    (tmp_path / "state.db").write_text("secret")
    driver = ImageDriver(root, protected=(*PROTECTED, tmp_path))
    answer = asyncio.run(driver.run(order(CREATE, root, PATH=str(tmp_path / "state.db"))))
    assert "cannot be registered" in answer.message


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ({"SIZE": "0"}, "needs its size"),
        ({"SIZE": "big"}, "needs its size"),
        ({}, "needs its size"),
        ({"SIZE": "5", "FORMAT": "vmdk"}, "must be raw or qcow2"),
        ({"SIZE": "5", "SOURCE": "/tmp/elsewhere"}, "outside the datastores"),
        ({"SIZE": "5", "SOURCE": ""}, "outside the datastores"),
    ],
)
def test_a_bad_order_says_why(root: Path, args: dict[str, str], why: str) -> None:
    answer = run(CREATE, root, **args)
    assert (answer.ok, answer.certain) == (False, True)
    assert why in answer.message


def test_a_full_datastore_is_named_and_nothing_stays(root: Path, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * (3 << 20))
    script = [sys.executable, "-c", ON_A_FULL_DATASTORE, str(tmp_path), str(Path(__file__).parents[3])]
    said = subprocess.run(["unshare", "-Urm", *script], check=True, capture_output=True, text=True, timeout=60).stdout
    assert said.startswith("False True the datastore is full: ")
    assert "needs 3 MB, 1 MB are left" in said
    assert said.endswith("[]\n")


def test_when_the_time_is_up_no_partial_file_stays(root: Path, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * (64 << 20))
    answer = run(CREATE, root, 0.02, PATH=str(tmp_path / "big"))
    assert (answer.ok, answer.certain) == (False, False)
    give_up = time.monotonic() + 10
    while stored(root) and time.monotonic() < give_up:
        time.sleep(0.02)
    assert stored(root) == []


def test_an_image_below_the_layers_of_an_earlier_vm_is_not_copied_without_them(root: Path) -> None:
    other = root / "1/other"
    qemu_img("create", "-q", "-f", "qcow2", other, "1M")
    layers = other.with_name("other.snap")
    layers.mkdir()
    (layers / "0").symlink_to("../other")
    assert run(CLONE, root, FROM=str(other)).ok
    assert run(DELETE, root).ok
    (layers / "1").touch()
    answer = run(CLONE, root, FROM=str(other))
    assert not answer.ok
    assert "in layers that an earlier VM left" in answer.message
    assert stored(root) == ["other", "other.snap"]


def test_deleting_takes_what_belongs_to_the_image_and_can_be_repeated(root: Path) -> None:
    assert run(CREATE, root, SIZE="1").ok
    (root / "1" / f"{NAME}.snap").mkdir()
    (root / "1" / f"{NAME}.md5sum").touch()
    (root / "1" / f".{NAME}.brought-back").touch()
    (root / "1/other").touch()
    assert run(DELETE, root) == Answer(ok=True)
    assert stored(root) == ["other"]
    assert run(DELETE, root) == Answer(ok=True)
    assert run(DELETE, root, SOURCE="").ok
    assert not run(DELETE, root, SOURCE=f"{root}/1/../../x").ok


def test_probes_tell_from_the_file_what_was_done(root: Path) -> None:
    driver = ImageDriver(root)

    def probe(kind: EffectKind) -> Answer | None:
        return asyncio.run(driver.probe(order(kind, root)))

    assert probe(CREATE) is None
    assert probe(DELETE) == Answer(ok=True)
    assert run(CREATE, root, SIZE="2", FORMAT="qcow2").ok
    assert probe(CREATE) == Answer(ok=True, values={"SIZE": "2", "FORMAT": "qcow2"})
    assert probe(DELETE) is None


def test_an_order_of_another_kind_is_answered_not_raised(root: Path) -> None:
    assert not run(EffectKind.VMM_DEPLOY, root).ok


def test_an_image_is_copied_whole_with_its_holes(root: Path) -> None:
    assert run(CREATE, root, SIZE="64", FORMAT="raw").ok
    origin, copy = root / "1" / NAME, f"{root}/1/copy"
    with origin.open("r+b") as file:
        file.seek(3 << 20)
        file.write(b"data")
    assert run(CLONE, root, FROM=str(origin), SOURCE=copy) == Answer(ok=True, values={"SIZE": "64", "FORMAT": "raw"})
    assert Path(copy).read_bytes() == origin.read_bytes()
    assert Path(copy).stat().st_blocks * 512 < 2 << 20
    assert stored(root) == [NAME, "copy"]


@pytest.mark.parametrize("origin", ["/etc/hostname", "{root}/1/none", ""])
def test_only_images_of_the_datastores_are_copied(root: Path, origin: str) -> None:
    answer = run(CLONE, root, FROM=origin.format(root=root))
    assert (answer.ok, answer.certain) == (False, True)
    assert stored(root) == []


def test_a_second_attempt_takes_what_is_there_by_now(root: Path) -> None:
    qemu_img("create", "-f", "qcow2", root / "1" / NAME, "10M")
    answer = run(CREATE, root, PATH="/nowhere", AGAIN="YES")
    assert answer == Answer(ok=True, values={"SIZE": "10", "FORMAT": "qcow2"})
    assert not run(CREATE, root, PATH="/nowhere").ok
