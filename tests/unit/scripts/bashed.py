"""A site with drivers written in bash, run by the real TmDriver in the real ONE_LOCATION tree."""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from holdfast.drivers.script_files import ScriptFiles
from holdfast.drivers.script_runs import ScriptRuns
from holdfast.drivers.tm.driver import TmDriver
from holdfast.drivers.tm.scripts import SiteTransfers
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.vm import History, Vm
from holdfast.serve.config import Config
from holdfast.serve.one_location import OneLocation
from holdfast.serve.remotes import install
from tests.unit.vmm.objects import a_stay, a_vm, an_order

DATA = Path(__file__).parents[2] / "data" / "remotes"
_OF_THE_STEP = re.compile(r"\(\d+/\d+\) ")
DISKS = (
    'DISK=[DISK_ID=0, IMAGE_ID=3, SOURCE="{image}", TM_MAD=bashed, DATASTORE_ID=1, FORMAT=raw, CLONE=YES, SAVE=NO]\n'
    'DISK=[DISK_ID=1, IMAGE_ID=4, SOURCE="{image}", TM_MAD=bashed, DATASTORE_ID=1, FORMAT=raw, CLONE=NO, SAVE=YES]\n'
    'DISK=[DISK_ID=2, TYPE=fs, SIZE=1, FORMAT=raw]\n'
    'DISK=[DISK_ID=3, TYPE=swap, SIZE=1]\n'
)  # fmt: skip


class BashedSite:
    """System datastores 0 and 100, image datastore 1 with one image; VM 7; the driver ``bashed``."""

    def __init__(self, base: Path) -> None:
        self.var = base / "var"
        self.config = Config(var=self.var)
        self.root = self.config.datastores_path
        for name in ("0", "1", "100"):
            (self.root / name).mkdir(parents=True)
        self.image = self.root / "1" / "image"
        self.image.write_text("content of the image")
        self.remotes = self.var / "remotes"
        install(self.remotes)
        shutil.copytree(DATA / "tm" / "bashed", self.remotes / "tm" / "bashed", symlinks=True)
        (self.folder / "wishes").mkdir()
        self.log: list[str] = []
        self.driver = self.started()

    @property
    def folder(self) -> Path:
        """The driver's own directory."""
        return self.remotes / "tm" / "bashed"

    @property
    def calls(self) -> list[str]:
        """How the driver was called: ``action|arguments|stdin``."""
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def runs(self) -> ScriptRuns:
        """What runs the scripts."""
        location = OneLocation(self.config)
        location.prepare()
        environment = {**location.environment("http://127.0.0.1:1/RPC2"), "SSH": str(DATA / "bin" / "local_ssh")}
        return ScriptRuns(self.var, environment)

    def started(self, describe: Callable[[Vm], str] = lambda vm: "<VM/>") -> TmDriver:
        """A driver as a controller has it that has just started."""
        external = SiteTransfers(ScriptFiles(self.remotes, "tm"), self.runs, describe)
        return TmDriver(
            self.root,
            self.var / "vms",
            "front",
            external=external,
            log=self._noted,
        )

    def _noted(self, vm_id: int, severity: str, text: str) -> None:
        """What scripts said; that a line of the step began, ended or failed is said for every driver."""
        if not _OF_THE_STEP.match(text):
            self.log.append(f"{severity} {text}")

    def wish(self, action: str, word: str) -> None:
        """What the action shall do wrong; empty for nothing."""
        path = self.folder / "wishes" / action
        path.write_text(f"{word}\n") if word else path.unlink()

    def vm(self, *stays: History, disks: str = DISKS) -> Vm:
        """VM 7."""
        return a_vm(7, disks.format(image=self.image), stays or (a_stay(tm_mad="bashed"),))

    def run(self, kind: EffectKind, vm: Vm, limit_s: float = 20, **args: object) -> Answer:
        """Carries out one step."""
        return asyncio.run(self.ordered(kind, vm, limit_s, **args))

    async def ordered(self, kind: EffectKind, vm: Vm, limit_s: float = 20, **args: object) -> Answer:
        """The same, in the test's own loop."""
        texts = {name: str(value) for name, value in args.items()}
        return await self.driver.run(an_order(kind, vm, None, limit_s, texts))

    def line(self, text: str, limit_s: float = 20) -> Answer:
        """Carries out one line."""
        return asyncio.run(self.driver.run_line(self.vm(), text, limit_s))

    def process(self, name: str) -> int:
        """The number of a process that told it."""
        path = self.folder / name
        eventually(lambda: path.exists() and path.read_text().strip().isdecimal())
        return int(path.read_text())


def alive(pid: int) -> bool:
    """Running, not merely waiting for somebody to collect its exit code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def eventually(look: Callable[[], bool], limit_s: float = 10) -> None:
    """Fails the test when it does not come true."""
    ends = time.monotonic() + limit_s
    while not look():
        assert time.monotonic() < ends, "not in time"
        time.sleep(0.01)
