"""Datastores in a temporary directory, with real images, and the drivers over them."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from holdfast.drivers.tm.driver import TmDriver
from holdfast.drivers.tm.home import MARK
from holdfast.engine.ports import Order
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.storage import Datastore
from holdfast.model.vm import History, Vm
from tests.unit.vmm.objects import a_datastore, a_stay, a_vm, an_order


class Site:
    """System datastores 0 and 100, image datastore 1; VM 7."""

    def __init__(self, base: Path) -> None:
        self.root = base / "datastores"
        self.vms = base / "vms"
        self.directory = self.root / "0/7"
        for name in ("0", "1", "100"):
            (self.root / name).mkdir(parents=True)
        self.driver = TmDriver(self.root, self.vms, "front")

    def image(self, name: str, image_format: str = "qcow2", size: str = "4M", pattern: str = "0xab") -> Path:
        """An image whose first 64 KiB hold the pattern."""
        path = self.root / "1" / name
        subprocess.run(["qemu-img", "create", "-q", "-f", image_format, path, size], check=True)
        self.write(path, image_format, pattern)
        return path

    @staticmethod
    def write(path: Path, image_format: str, pattern: str) -> None:
        """Writes the pattern over the first 64 KiB of the disk."""
        subprocess.run(["qemu-io", "-f", image_format, "-c", f"write -P {pattern} 0 64k", path],
                       check=True, stdout=subprocess.DEVNULL)  # fmt: skip

    @staticmethod
    def holds(path: Path, image_format: str, pattern: str) -> bool:
        """The first 64 KiB of the disk hold the pattern."""
        read = subprocess.run(["qemu-io", "-r", "-f", image_format, "-c", f"read -P {pattern} 0 64k", path],
                              check=False, capture_output=True, text=True)  # fmt: skip
        differs = "verification failed" in read.stdout
        assert differs or read.returncode == 0, read.stderr
        return not differs

    @staticmethod
    def info(path: Path) -> Any:
        """What qemu-img knows."""
        return json.loads(subprocess.check_output(["qemu-img", "info", "--output=json", path]))

    def disk(
        self, image: Path, image_format: str = "qcow2", extra: str = "CLONE=YES, SAVE=NO", disk_id: int = 0
    ) -> str:
        """A DISK of an image, as text."""
        return (
            f'DISK=[DISK_ID={disk_id}, IMAGE_ID=3, SOURCE="{image}", TM_MAD=qcow2, DATASTORE_ID=1, '
            f"FORMAT={image_format}, ORIGINAL_SIZE=4, SIZE=4, {extra}]\n"
        )

    def vm(self, text: str, *stays: History, user: str = "") -> Vm:
        """VM 7 with these disks."""
        return a_vm(7, text, stays or (a_stay(),), user)

    def run(
        self, kind: EffectKind, vm: Vm, limit_s: float = 20, datastore: Datastore | None = None, **args: object
    ) -> Answer:
        """Carries out one step."""
        return asyncio.run(self.driver.run(self.order(kind, vm, limit_s, datastore, **args)))

    def order(
        self, kind: EffectKind, vm: Vm, limit_s: float = 20, datastore: Datastore | None = None, **args: object
    ) -> Order:
        """The order for one step."""
        return an_order(kind, vm, None, limit_s, _texts(args), datastore)

    def probe(self, kind: EffectKind, vm: Vm, **args: object) -> Answer | None:
        """Asks whether a step was done."""
        return asyncio.run(self.driver.probe(an_order(kind, vm, args=_texts(args), datastore=a_datastore())))

    def line(self, text: str) -> Answer:
        """Carries out one line for VM 7."""
        return asyncio.run(self.driver.run_line(self.vm(self.disk(self.root / "1/aaa")), text, 10))

    def files(self, directory: str = "0/7") -> list[str]:
        """The names in a directory, without the mark of how it came there."""
        return names_in(self.root / directory)

    def leftovers(self) -> list[str]:
        """Names of drafts, and of what is being removed or was moved, anywhere."""
        found = (str(path.relative_to(self.root)) for path in self.root.rglob("*"))
        return sorted(path for path in found if any(sign in path for sign in (".draft.", ".deleted", ".moved")))


def names_in(directory: Path) -> list[str]:
    """The names in a directory, without the mark of how it came there."""
    return sorted(entry.name for entry in directory.iterdir() if entry.name != MARK)


@asynccontextmanager
async def opened(image: Path, image_format: str = "qcow2") -> AsyncIterator[None]:
    """A program has the image open for writing, as a guest has."""
    pipe = asyncio.subprocess.PIPE
    program = await asyncio.create_subprocess_exec("qemu-io", "-f", image_format, str(image), stdin=pipe, stdout=pipe)
    assert program.stdin
    assert program.stdout
    try:
        program.stdin.write(b"length\n")
        async with asyncio.timeout(10):
            assert b"4 MiB" in await program.stdout.readline()
        yield
    finally:
        await program.communicate(b"quit\n")


def _texts(args: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in args.items()}
