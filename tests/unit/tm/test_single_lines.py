"""Single lines of a transfer file, as an interactive repair runs them, on real files."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.drivers.tm.account import Account
from holdfast.drivers.tm.lines import Line
from holdfast.drivers.tm.registry import Transfers
from holdfast.drivers.tm.single_lines import UNSEEN, LineDriver
from holdfast.drivers.tm.tools import Clockwork
from holdfast.drivers.tm.transcript import LINES_AT_MOST, Transcripts
from holdfast.engine.ports import Order
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.errors import ActionError
from holdfast.model.vm import Vm
from tests.unit.tm.site import Site
from tests.unit.vmm.objects import an_order


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.directory.mkdir()
    (site.directory / "disk.0").write_text("precious")
    return site


def lines(site: Site) -> LineDriver:
    return LineDriver(site.driver, site.root, site.vms)


def order(site: Site, text: str, limit_s: float = 10, record: int = 1) -> Order:
    return an_order(
        EffectKind.TM_LINE,
        a_vm(site),
        None,
        limit_s,
        {"LINE": text, "NUMBER": "1", "COUNT": "2", "RECORD": str(record)},
    )


def a_vm(site: Site) -> Vm:
    return site.vm(site.disk(site.root / "1/aaa"))


def move(site: Site, target: str = "100/7") -> str:
    return f"MV shared a:{site.root}/0/7 b:{site.root}/{target} 7 0"


def test_a_line_is_carried_out_on_the_files(site: Site) -> None:
    answer = asyncio.run(lines(site).run(order(site, move(site))))
    assert answer == Answer(True, values={"OUTPUT": ""})
    assert (site.root / "100/7/disk.0").read_text() == "precious"


def test_a_line_that_fails_says_why_in_its_log_lines(site: Site) -> None:
    driver = lines(site)
    site.directory.rename(site.root / "elsewhere")
    answer = asyncio.run(driver.run(order(site, move(site))))
    assert (answer.ok, answer.certain) == (False, True)
    (said,) = driver.told_by(7, 1) or ()
    assert said.startswith("LOG E  neither")
    assert answer.values["OUTPUT"] == said


def test_a_driver_that_is_not_there_is_named(site: Site) -> None:
    answer = asyncio.run(lines(site).run(order(site, "MV ceph a:/x b:/y 7 0")))
    assert answer.values["OUTPUT"] == "LOG E  Transfer Driver 'ceph' not available"


class Talkative:
    """A transfer driver that says a few things and then waits for the test."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def perform(self, line: Line, vm: Vm, clockwork: Clockwork) -> None:
        clockwork.account.log("I", "mv: Moving stuff\nfrom here to there")
        await self.go_on.wait()
        clockwork.account.log("E", "mv: it failed")


def test_what_a_line_says_is_heard_while_it_runs_and_in_the_vms_log(site: Site, tmp_path: Path) -> None:
    logged: list[tuple[int, str, str]] = []

    async def story() -> None:
        talkative = Talkative()
        external: dict[str, Transfers] = {"slow": talkative}
        tm = type(site.driver)(site.root, site.vms, external=external.get, log=lambda *told: logged.append(told))
        driver = LineDriver(tm, site.root, site.vms)
        running = asyncio.create_task(driver.run(order(site, "MV slow a:/x b:/y 7 0", record=4)))
        await asyncio.sleep(0.05)
        assert driver.told_by(7, 4) == ["LOG I  mv: Moving stuff", "LOG I  from here to there"]
        progress = tm.accounts.progress_of(7)
        assert progress is not None
        assert progress.line == "MV slow a:/x b:/y 7 0"
        talkative.go_on.set()
        assert (await running).values["OUTPUT"].endswith("LOG E  mv: it failed")

    asyncio.run(story())
    assert logged[-2] == (7, "E", "mv: it failed")
    assert logged[-1][2].startswith("(1/2) MV slow a:/x b:/y 7 0: done in")


def test_a_line_that_takes_too_long_has_an_unknown_outcome(site: Site) -> None:
    answer = asyncio.run(lines(site).run(order(site, move(site), limit_s=-1)))
    assert (answer.ok, answer.certain) == (False, False)


def test_after_a_restart_a_line_is_not_run_again_its_outcome_is_unknown(site: Site) -> None:
    answer = asyncio.run(lines(site).probe(order(site, move(site))))
    assert answer == Answer(False, UNSEEN, certain=False, values={"OUTPUT": f"LOG W  {UNSEEN}"})
    assert (site.directory / "disk.0").exists()
    for text in (
        f"MV.ssh shared a:{site.root}/0/7 b:{site.root}/0/7 7 0",
        "",
        "MV shared",
        "MV shared a:/etc b:/tmp 7 0",
    ):
        found = asyncio.run(lines(site).probe(order(site, text)))
        assert found is not None
        assert not found.certain


def test_after_a_restart_a_move_whose_files_have_arrived_is_done(site: Site) -> None:
    asyncio.run(lines(site).run(order(site, move(site))))
    answer = asyncio.run(lines(site).probe(order(site, move(site))))
    assert answer is not None
    assert answer.ok
    assert "found complete after a restart" in answer.values["OUTPUT"]
    same = asyncio.run(lines(site).probe(order(site, f"MV shared a:{site.root}/0/7 b:{site.root}/0/7 7 0")))
    assert same is not None
    assert same.ok


def test_an_order_for_a_vm_that_is_gone_changes_nothing(site: Site) -> None:
    gone = replace(order(site, move(site)), vm=None)
    assert not asyncio.run(lines(site).run(gone)).ok
    found = asyncio.run(lines(site).probe(gone))
    assert found is not None
    assert not found.certain


def test_the_file_is_read_as_it_is_now_without_comments_and_blanks(site: Site) -> None:
    path = site.vms / "7/transfer.0.prolog"
    path.parent.mkdir(parents=True)
    path.write_text("CLONE qcow2 a:/x b:/y 7 1\n\n# edited by hand\n  MKSWAP shared 512 b:/z 7 0\n")
    read = asyncio.run(lines(site).lines_of(a_vm(site), "transfer.0.prolog"))
    assert read == ("CLONE qcow2 a:/x b:/y 7 1", "MKSWAP shared 512 b:/z 7 0")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file or directory"),
        (b"\xff\xfe", "it is not UTF-8 text"),
        (b"x" * 2_000_000, "2000000 bytes, that is no transfer file"),
    ],
    ids=["missing", "not text", "huge"],
)
def test_a_file_that_cannot_be_read_is_named_with_the_way_out(site: Site, content: bytes | None, why: str) -> None:
    path = site.vms / "7/transfer.0.prolog"
    path.parent.mkdir(parents=True)
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ActionError) as refused:
        asyncio.run(lines(site).lines_of(a_vm(site), "transfer.0.prolog"))
    assert refused.value.message.startswith(f"Cannot read {path}: ")
    assert why in refused.value.message
    assert "onevm recover --retry 7" in refused.value.message


def test_what_is_remembered_of_runs_is_bounded() -> None:
    transcripts = Transcripts()
    first = transcripts.begin(1, 1)
    Account(first.say).log("I", "\n".join(["x" * 5000] * (LINES_AT_MOST + 3)))
    assert len(first.lines) == LINES_AT_MOST + 1
    assert first.lines[-1] == "LOG W  3 more lines were left out"
    assert len(first.lines[0]) == 1000 + len("LOG I  ")
    for record in range(2, 200):
        transcripts.begin(1, record)
    assert transcripts.of(1, 1) is None
    assert transcripts.of(1, 199) is not None
