"""Transfer drivers of the site, written in bash for OpenNebula's convention, under the real TmDriver."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.drivers.tm.lines import Step
from holdfast.model.enums import EffectKind
from tests.unit.scripts.bashed import BashedSite, alive, eventually
from tests.unit.vmm.objects import a_stay, an_order, elsewhere


@pytest.fixture
def site(tmp_path: Path) -> BashedSite:
    return BashedSite(tmp_path)


def told(site: BashedSite) -> list[str]:
    """The calls, without what they got on stdin and where the test has its files."""
    return [call.rpartition("|")[0].replace(str(site.root), "/ds") for call in site.calls]


def test_a_life_of_a_vm_calls_each_script_with_opennebulas_arguments(site: BashedSite) -> None:
    vm = site.vm()
    assert site.run(EffectKind.TM_PROLOG, vm).ok
    directory = site.root / "0/7"
    assert (directory / "disk.0").read_text() == "content of the image"
    assert (directory / "disk.1").resolve() == site.image
    assert (directory / "disk.2").stat().st_size == 1 << 20
    assert b"SWAPSPACE2" in (directory / "disk.3").read_bytes()
    assert site.run(EffectKind.TM_SNAPSHOT_CREATE, vm, DISK_ID=0, ITEM=4).ok
    assert site.run(EffectKind.TM_SNAPSHOT_REVERT, vm, DISK_ID=0, ITEM=4).ok
    assert site.run(EffectKind.TM_SNAPSHOT_DELETE, vm, DISK_ID=0, ITEM=4).ok
    assert site.run(EffectKind.TM_RESIZE, vm, DISK_ID=0, SIZE=3).ok
    assert (directory / "disk.0").stat().st_size == 3 << 20
    moved = elsewhere(vm, a_stay(tm_mad="bashed"), a_stay(2, 1, 100, "bashed"))
    assert site.run(EffectKind.TM_MIGRATE, moved).ok
    assert (site.root / "100/7/disk.0").stat().st_size == 3 << 20
    assert site.run(EffectKind.TM_EPILOG, moved).ok
    assert not (site.root / "100/7").exists()
    assert told(site) == [
        "clone|front:/ds/1/image host1:/ds/0/7/disk.0 7 1",
        "ln|front:/ds/1/image host1:/ds/0/7/disk.1 7 1",
        "mkimage|1 raw host1:/ds/0/7/disk.2 7 0",
        "mkswap|1 host1:/ds/0/7/disk.3 7 0",
        "snap_create|host1:/ds/0/7/disk.0 4 7 1",
        "snap_revert|host1:/ds/0/7/disk.0 4 7 1",
        "snap_delete|host1:/ds/0/7/disk.0 4 7 1",
        "resize|host1:/ds/0/7/disk.0 3 7 1",
        *(f"mv|host1:/ds/0/7/disk.{n} host2:/ds/100/7/disk.{n} 7 {ds}" for n, ds in enumerate((1, 1, 100, 100))),
        "mv|host1:/ds/0/7 host2:/ds/100/7 7 100",
        "delete|host2:/ds/100/7/disk.0 7 1",
        "mvds|host2:/ds/100/7/disk.1 /ds/1/image 7 1",
        "delete|host2:/ds/100/7/disk.2 7 100",
        "delete|host2:/ds/100/7/disk.3 7 100",
        "delete|host2:/ds/100/7 7 100",
    ]
    assert all(call.endswith("|") for call in site.calls), "stdin is empty"


ACTIONS = (
    "CLONE bashed front:{root}/1/image host1:{root}/0/7/disk.0 7 1",
    "LN bashed front:{root}/1/image host1:{root}/0/7/disk.1 7 1",
    "MKIMAGE bashed 1 qcow2 host1:{root}/0/7/disk.2 7 0",
    "MKSWAP bashed 1 host1:{root}/0/7/disk.3 7 0",
    "CONTEXT bashed {root}/1/image host1:{root}/0/7/disk.4 7 0",
    "CPDS bashed host1:{root}/0/7/disk.0 {root}/1/saved -1 7 1",
    "RESIZE bashed host1:{root}/0/7/disk.0 2 7 1",
    "SNAP_CREATE bashed host1:{root}/0/7/disk.0 0 7 1",
    "SNAP_CREATE_LIVE bashed host1:{root}/0/7/disk.0 1 7 1",
    "SNAP_REVERT bashed host1:{root}/0/7/disk.0 0 7 1",
    "SNAP_DELETE bashed host1:{root}/0/7/disk.0 0 7 1",
    "MVDS bashed host1:{root}/0/7/disk.1 {root}/1/image 7 1",
    "MV bashed host1:{root}/0/7/disk.0 front:{root}/0/7/disk.0 7 1",
    "PREBACKUP bashed host1:{root}/0/7 0:1 one-7 - 7 0",
    "POSTBACKUP_LIVE bashed host1:{root}/0/7 0:1 one-7 - 7 0",
    "RESTORE bashed host1:{root}/0/7 7 3 1 0",
    "MONITOR bashed 0",
    "DELETE bashed host1:{root}/0/7 7 0",
)


def test_every_action_of_opennebula_is_carried_out(site: BashedSite) -> None:
    for text in ACTIONS:
        answer = site.line(text.format(root=site.root))
        assert answer.ok, (text, answer)
    assert [call.partition("|")[0] for call in site.calls] == [text.split()[0].lower() for text in ACTIONS]


@pytest.mark.parametrize("text", ACTIONS)
def test_every_action_may_fail_and_the_vm_gets_the_reason(site: BashedSite, text: str) -> None:
    action = text.split()[0].lower()
    site.wish(action, "fail")
    answer = site.line(text.format(root=site.root))
    assert not answer.ok
    assert answer.certain
    assert answer.message.endswith(f"no luck with {action}")
    assert site.log[1:] == [
        f"I {action}: about to fail",
        f"E {action}: the {action} went wrong",
        f"E no luck with {action}",
    ]
    assert site.log[0].startswith(f"I Command execution failed (exit code: 3): {site.folder}/{action} ")


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        ("fail60", "the old way"),
        ("fail62", "first half of the reason"),
        ("mute", "{folder}/delete ended with exit code 9 and gave no reason"),
        ("killed", "{folder}/delete was killed by signal 9 (SIGKILL) and gave no reason"),
    ],
)
def test_the_reason_is_found_in_the_output_of_every_generation(site: BashedSite, wish: str, reason: str) -> None:
    site.wish("delete", wish)
    line = f"DELETE bashed host1:{site.root}/0/7 7 0"
    assert site.line(line).message == reason.format(folder=site.folder)


def test_noise_of_a_success_stays_out_of_the_log(site: BashedSite) -> None:
    site.wish("delete", "noise")
    assert site.line(f"DELETE bashed host1:{site.root}/0/7 7 0").ok
    assert site.log == ["I delete: enough noise"]


def test_a_reason_behind_a_flood_of_output_is_found(site: BashedSite) -> None:
    site.wish("delete", "flood")
    assert site.line(f"DELETE bashed host1:{site.root}/0/7 7 0").message == "behind the flood"
    assert len(site.log) < 600


def test_the_first_line_that_fails_ends_the_step_and_a_repetition_does_all_of_it(site: BashedSite) -> None:
    site.wish("ln", "once fail")
    vm = site.vm()
    answer = site.run(EffectKind.TM_PROLOG, vm)
    assert not answer.ok
    assert [call.partition("|")[0] for call in site.calls] == ["clone", "ln"]
    assert site.run(EffectKind.TM_PROLOG, vm).ok
    assert len(site.driver.transfer_file(vm, Step.PROLOG).read_text().splitlines()) == 4
    assert [call.partition("|")[0] for call in site.calls[2:]] == ["clone", "ln", "mkimage", "mkswap"]


def test_a_slow_script_is_ended_at_its_deadline_and_the_outcome_is_called_unknown(site: BashedSite) -> None:
    site.wish("clone", "slow")
    answer = site.run(EffectKind.TM_PROLOG, site.vm(), limit_s=0.7)
    assert not answer.ok
    assert not answer.certain
    assert "the time was up" in answer.message
    assert site.log[1:] == ["I clone: this takes long"]
    assert site.log[0].startswith("I Command execution timed out after 0.")


@pytest.mark.parametrize("wish", ["stubborn", "escape"])
def test_children_that_ignore_sigterm_or_leave_the_group_do_not_outlive_the_deadline(
    site: BashedSite, wish: str
) -> None:
    site.wish("clone", wish)
    answer = site.run(EffectKind.TM_PROLOG, site.vm(), limit_s=0.7)
    assert "the time was up" in answer.message
    assert not alive(site.process("child"))


def test_what_a_failed_script_left_behind_is_ended_before_the_next_begins_a_daemon_of_a_good_one_stays(
    site: BashedSite,
) -> None:
    line = f"DELETE bashed host1:{site.root}/0/7/disk.0 7 0"
    site.wish("delete", "abandon")
    assert not site.line(line).ok
    assert not alive(site.process("child"))
    (site.folder / "child").unlink()
    site.wish("delete", "daemon")
    assert site.line(line).ok
    daemon = site.process("child")
    assert alive(daemon)
    os.kill(daemon, signal.SIGKILL)


@pytest.mark.parametrize("wish", ["stubborn", "escape"])
def test_a_retry_ends_the_running_script_and_begins_only_when_it_is_gone(site: BashedSite, wish: str) -> None:
    site.wish("clone", f"once {wish}")
    vm = site.vm()

    async def story() -> int:
        first = asyncio.create_task(site.ordered(EffectKind.TM_PROLOG, vm))
        child = await asyncio.to_thread(site.process, "child")
        first.cancel()
        answer = await site.ordered(EffectKind.TM_PROLOG, vm)
        assert answer.ok, answer
        assert not alive(child)
        with pytest.raises(asyncio.CancelledError):
            await first
        return child

    asyncio.run(story())
    assert [call.partition("|")[0] for call in site.calls] == ["clone", "clone", "ln", "mkimage", "mkswap"]


def test_what_a_killed_controller_left_running_is_ended_before_the_step_is_done_again(site: BashedSite) -> None:
    site.wish("clone", "once stubborn")
    vm = site.vm()

    command = [str(site.folder / "clone"), "front:x", "host1:y", "7", "1"]
    mark = f"{site.var}:7:1.1"
    (site.var / "script-runs").mkdir(exist_ok=True)
    (site.var / "script-runs/7").write_text(mark)
    environment = {**os.environ, "HOLDFAST_RUN": mark, "ONE_LOCATION": str(site.var / "one")}
    left = subprocess.Popen(command, env=environment, start_new_session=True, stdin=subprocess.DEVNULL)
    child, parent = site.process("child"), site.process("parent")
    site.driver = site.started()
    assert site.run(EffectKind.TM_PROLOG, vm).ok
    assert left.wait(10) < 0
    eventually(lambda: not alive(child) and not alive(parent))


def test_what_a_script_that_succeeded_left_running_outlives_the_controller_and_the_scripts_after_it(
    site: BashedSite,
) -> None:
    vm = site.vm()
    assert site.run(EffectKind.TM_PROLOG, vm).ok
    assert not (site.var / "script-runs/7").exists(), "nothing of it is to be ended"
    environment = {**os.environ, "HOLDFAST_RUN": f"{site.var}:7:1.1"}
    daemon = subprocess.Popen(["sleep", "60"], env=environment, start_new_session=True)
    try:
        site.driver = site.started()
        assert site.run(EffectKind.TM_PROLOG, vm).ok
        assert daemon.poll() is None
    finally:
        daemon.kill()
        daemon.wait()


def test_after_a_restart_files_say_nothing_about_what_a_script_has_done(site: BashedSite) -> None:
    for kind in (EffectKind.TM_PROLOG, EffectKind.TM_EPILOG, EffectKind.TM_DELETE):
        assert asyncio.run(site.driver.probe(an_order(kind, site.vm()))) is None
    stays = (a_stay(tm_mad="bashed"), a_stay(2, 1, 0, "bashed"))
    order = an_order(EffectKind.TM_MIGRATE, elsewhere(site.vm(), *stays))
    assert asyncio.run(site.driver.probe(order)) is None, "the same directory, but perhaps not the same devices"


def test_scripts_of_different_vms_run_at_the_same_time_those_of_one_vm_do_not(site: BashedSite) -> None:
    site.wish("clone", "once stubborn")
    seven, eight = site.vm(), replace(site.vm(), oid=8)

    async def story() -> None:
        stuck = asyncio.create_task(site.ordered(EffectKind.TM_PROLOG, seven))
        await asyncio.to_thread(site.process, "child")
        assert (await site.ordered(EffectKind.TM_PROLOG, eight)).ok
        waiting = await site.driver.run_line(seven, f"DELETE bashed host1:{site.root}/0/7 7 0", 0.3)
        assert waiting.message.endswith("another script of VM 7 did not end in time")
        assert not waiting.certain
        stuck.cancel()
        await asyncio.wait({stuck})

    asyncio.run(story())


def test_a_suffix_names_a_script_of_its_own_and_falls_back_to_the_plain_one(site: BashedSite) -> None:
    line = f"CLONE.ssh bashed front:{site.image} host1:{site.root}/0/7/disk.0 7 1"
    assert site.line(line).ok
    (site.folder / "clone.ssh").symlink_to("action")
    assert site.line(line).ok
    assert [call.partition("|")[0] for call in site.calls] == ["clone", "clone.ssh"]


def test_a_driver_that_is_not_there_is_named_in_opennebulas_words(site: BashedSite) -> None:
    assert site.line("CLONE nothing a b 7 1").message.endswith("Transfer Driver 'nothing' not available")
    missing = site.line("JUMP bashed a b 7 1").message
    assert missing.endswith(f"Driver path '{site.folder}/jump' does not exists")
    missing = site.line("JUMP.ssh bashed a b 7 1").message
    assert missing.endswith(f"Driver path '{site.folder}/jump.ssh' nor '{site.folder}/jump' exists")


def test_migration_scripts_get_the_vm_on_stdin_and_call_those_of_the_other_disks(site: BashedSite) -> None:
    other = site.remotes / "tm" / "other"
    other.mkdir()
    (other / "premigrate").write_text('#!/bin/sh\necho "$*|$(cat)" > "${0%/*}/called"\n')
    (other / "premigrate").chmod(0o755)
    xml = "<VM><TEMPLATE><DISK><TM_MAD>bashed</TM_MAD></DISK><DISK><TM_MAD>other</TM_MAD></DISK></TEMPLATE></VM>"
    site.driver = site.started(lambda vm: xml)
    assert site.line(f"PREMIGRATE bashed host1 host2 {site.root}/0/7 7 0").ok
    arguments, _, stdin = (other / "called").read_text().strip().partition("|")
    assert arguments == f"host1 host2 {site.root}/0/7 7 0 bashed"
    assert stdin == site.calls[0].rpartition("|")[2] != ""
