"""The classic sequence against a scripted OpenNebula: what is done, and above all what is not."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from holdfast.cli.connection import Connection
from holdfast.cli.errors import ApiError, Unreachable
from holdfast.cli.rpc import Client
from holdfast.cli.xmltree import parse
from holdfast.libexec.classic_failover import ClassicFailover, Outcome
from holdfast.libexec.fence_script import FenceResult
from holdfast.libexec.hook_arguments import HookArguments
from holdfast.libexec.hook_log import HookLog
from holdfast.libexec.host_error import cycle_s
from holdfast.libexec.patient_client import PatientClient
from tests.unit.cli.scripted_opennebula import HOST_ID, ScriptedOpenNebula, ScriptedVm
from tests.unit.cli.scripted_server import ScriptedServer

_ACTING = ("one.vm.action", "one.vm.recover")


class FakeClock:
    """Time that passes only in sleep."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.slept.append(seconds)


@dataclass
class Run:
    """A finished run and what it left behind."""

    outcome: Outcome
    fenced_with: list[str]
    clock: FakeClock
    log: str
    server: ScriptedServer = field(repr=False)

    @property
    def acted(self) -> list[tuple[object, ...]]:
        return self.server.asked(*_ACTING)


@pytest.fixture
def log_directory(tmp_path: Path) -> Path:
    return tmp_path


def run_hook(
    server: ScriptedServer,
    world: ScriptedOpenNebula,
    directory: Path,
    mode: str = "migrate",
    force: bool = False,
    pause: int = 2,
    fencing: bool = True,
    fence: FenceResult | None = None,
) -> Run:
    """One run of the sequence."""
    server.answers = world.answers()
    clock, fenced_with = FakeClock(), []

    def fence_script(host_xml: str) -> FenceResult:
        fenced_with.append(host_xml)
        return fence or FenceResult(True, "Success: Powered OFF")

    log = HookLog({"ONE_LOG_DIR": str(directory)}, str(HOST_ID))
    client = PatientClient(Client(Connection(server.endpoint, "oneadmin:x", 10.0)), clock)
    arguments = HookArguments(HOST_ID, mode, force, pause, fencing)
    outcome = ClassicFailover(client, arguments, log, 60.0, clock, fence_script).run()
    return Run(outcome, fenced_with, clock, (directory / "host_error.log").read_text(encoding="utf-8"), server)


def test_the_vms_of_a_dead_host_are_rescheduled_after_fencing(server: ScriptedServer, log_directory: Path) -> None:
    world = ScriptedOpenNebula([ScriptedVm(1), ScriptedVm(2, state=8, lcm_state=0), ScriptedVm(3, host_id=4)])
    run = run_hook(server, world, log_directory)
    assert run.outcome == Outcome(0, "fenced; of 2 VMs: 2 rescheduled")
    assert run.acted == [("resched", 1), ("resched", 2)]
    assert run.clock.slept == [60.0, 60.0]
    assert parse(run.fenced_with[0], "the test").findtext("ID") == str(HOST_ID)
    assert "[HOST 13][I] fence: Success: Powered OFF" in run.log
    assert "[HOST 13][I] VM 1 rescheduled: it was UNKNOWN" in run.log


def test_the_host_is_looked_at_again_after_fencing_and_before_any_vm(
    server: ScriptedServer, log_directory: Path
) -> None:
    run = run_hook(server, ScriptedOpenNebula([ScriptedVm(1)]), log_directory)
    assert server.methods() == ["one.host.info"] * 4 + [
        "one.vmpool.info",
        "one.datastorepool.info",
        "one.vm.info",
        "one.vm.action",
    ]
    assert run.outcome.code == 0


@pytest.mark.parametrize("states", [[3, 2], [3, 3, 2], [3, 3, 1, 3], [5, 5, 2]])
def test_a_host_that_comes_back_during_the_wait_is_not_fenced(
    server: ScriptedServer, log_directory: Path, states: list[int]
) -> None:
    run = run_hook(server, ScriptedOpenNebula([ScriptedVm(1)], host_states=states), log_directory, pause=3)
    assert run.outcome == Outcome(0, "it came back; nothing was done")
    assert run.fenced_with == []
    assert run.acted == []


def test_a_host_that_is_monitored_anew_is_left_to_the_next_event(server: ScriptedServer, log_directory: Path) -> None:
    run = run_hook(server, ScriptedOpenNebula([ScriptedVm(1)], host_states=[3, 0]), log_directory)
    assert run.outcome.code == 0
    assert "if it fails again the hook runs again" in run.outcome.text
    assert (run.fenced_with, run.acted) == ([], [])


@pytest.mark.parametrize(("state", "name"), [(4, "DISABLED"), (7, "MONITORING_DISABLED"), (8, "OFFLINE")])
def test_a_state_set_by_an_operator_is_not_taken_for_came_back(
    server: ScriptedServer, log_directory: Path, state: int, name: str
) -> None:
    run = run_hook(server, ScriptedOpenNebula([ScriptedVm(1)], host_states=[3, state]), log_directory)
    assert run.outcome.code == 255
    assert f"someone has set it to {name}; nothing was done" in run.outcome.text
    assert "onehost enable 13" in run.outcome.text
    assert (run.fenced_with, run.acted) == ([], [])


def test_without_pause_it_acts_at_once(server: ScriptedServer, log_directory: Path) -> None:
    run = run_hook(server, ScriptedOpenNebula([ScriptedVm(1)]), log_directory, pause=0)
    assert run.clock.slept == []
    assert run.acted == [("resched", 1)]


def test_without_pause_a_state_that_is_stored_late_is_waited_for(server: ScriptedServer, log_directory: Path) -> None:
    world = ScriptedOpenNebula([ScriptedVm(1)], host_states=[2, 2, 3])
    run = run_hook(server, world, log_directory, pause=0)
    assert run.clock.slept == [1.0, 1.0]
    assert run.acted == [("resched", 1)]


def test_without_pause_a_host_that_is_alive_is_left_alone(server: ScriptedServer, log_directory: Path) -> None:
    run = run_hook(server, ScriptedOpenNebula([ScriptedVm(1)], host_states=[2]), log_directory, pause=0)
    assert run.outcome == Outcome(0, "it came back; nothing was done")
    assert (run.fenced_with, run.acted) == ([], [])


def test_no_vm_is_touched_when_fencing_fails(server: ScriptedServer, log_directory: Path) -> None:
    failed = FenceResult(False, "Fence ip not found", "the script ended with exit code 1")
    run = run_hook(server, ScriptedOpenNebula([ScriptedVm(1)]), log_directory, fence=failed)
    assert run.outcome == Outcome(255, "fencing failed, no VM was touched: the script ended with exit code 1")
    assert run.acted == []
    assert "fence: Fence ip not found" in run.log


def test_no_vm_is_touched_when_a_fenced_host_still_answers(server: ScriptedServer, log_directory: Path) -> None:
    run = run_hook(server, ScriptedOpenNebula([ScriptedVm(1)], host_states=[3, 3, 3, 2]), log_directory)
    assert len(run.fenced_with) == 1
    assert run.outcome.code == 255
    assert "it answers although it was fenced, no VM was touched" in run.outcome.text
    assert run.acted == []


def test_a_fenced_host_that_someone_disabled_is_still_failed_over(server: ScriptedServer, log_directory: Path) -> None:
    run = run_hook(server, ScriptedOpenNebula([ScriptedVm(1)], host_states=[3, 3, 3, 4]), log_directory)
    assert run.acted == [("resched", 1)]


def test_a_host_without_vms_is_not_fenced(server: ScriptedServer, log_directory: Path) -> None:
    run = run_hook(server, ScriptedOpenNebula([ScriptedVm(3, host_id=4)]), log_directory)
    assert run.outcome == Outcome(0, "it has no VMs; nothing was done")
    assert run.fenced_with == []


def test_without_fencing_the_risk_is_logged(server: ScriptedServer, log_directory: Path) -> None:
    run = run_hook(server, ScriptedOpenNebula([ScriptedVm(1)]), log_directory, fencing=False)
    assert run.outcome == Outcome(0, "not fenced; of 1 VMs: 1 rescheduled")
    assert run.fenced_with == []
    assert "if the host still runs, its VMs will run twice" in run.log


def test_without_fencing_a_host_that_came_back_at_the_last_moment_is_left_alone(
    server: ScriptedServer, log_directory: Path
) -> None:
    world = ScriptedOpenNebula([ScriptedVm(1)], host_states=[3, 3, 3, 2])
    run = run_hook(server, world, log_directory, fencing=False)
    assert run.outcome == Outcome(0, "it came back; nothing was done")
    assert run.acted == []


def test_a_vm_that_runs_again_is_never_touched(server: ScriptedServer, log_directory: Path) -> None:
    world = ScriptedOpenNebula([ScriptedVm(1), ScriptedVm(2)], changes={1: [ScriptedVm(1, lcm_state=3)]})
    run = run_hook(server, world, log_directory, fencing=False)
    assert run.acted == [("resched", 2)]
    assert run.outcome == Outcome(0, "not fenced; of 2 VMs: 1 left alone, 1 rescheduled")


def test_a_vm_that_seems_to_run_on_a_fenced_host_is_reported_as_failed(
    server: ScriptedServer, log_directory: Path
) -> None:
    world = ScriptedOpenNebula([ScriptedVm(1, lcm_state=3)])
    run = run_hook(server, world, log_directory, mode="recreate")
    assert run.acted == []
    assert run.outcome == Outcome(255, "fenced; of 1 VMs: 1 FAILED")
    assert "[HOST 13][E] VM 1 FAILED: the server says that it is RUNNING there" in run.log


def test_a_vm_that_the_server_turns_to_unknown_late_is_waited_for(server: ScriptedServer, log_directory: Path) -> None:
    running, unknown = ScriptedVm(1, lcm_state=3), ScriptedVm(1)
    world = ScriptedOpenNebula([running], changes={1: [running, running, unknown]})
    run = run_hook(server, world, log_directory, pause=0)
    assert run.acted == [("resched", 1)]
    assert run.clock.slept == [1.0, 1.0]


def test_the_wait_for_late_vms_is_bounded_for_all_together(server: ScriptedServer, log_directory: Path) -> None:
    world = ScriptedOpenNebula([ScriptedVm(number, lcm_state=3) for number in range(50)])
    run = run_hook(server, world, log_directory, pause=0)
    assert sum(run.clock.slept) == 10.0


def test_a_vm_that_has_left_the_host_meanwhile_is_left_alone(server: ScriptedServer, log_directory: Path) -> None:
    gone = {1: [ScriptedVm(1, host_id=4)], 2: [ScriptedVm(2, state=6, lcm_state=0)]}
    world = ScriptedOpenNebula([ScriptedVm(1), ScriptedVm(2)], changes=gone)
    run = run_hook(server, world, log_directory, mode="delete")
    assert run.acted == []
    assert run.outcome == Outcome(0, "fenced; of 2 VMs: 2 left alone")


@pytest.mark.parametrize(
    ("mode", "force", "acted"),
    [
        ("migrate", False, [("resched", 1), ("resched", 5), ("resched", 8)]),
        ("recreate", False, [(1, 4)]),
        ("recreate", True, [(1, 4), (5, 4), (8, 4)]),
        ("delete", False, [(1, 3), (5, 3), (8, 3)]),
    ],
)
def test_which_states_are_concerned_is_opennebulas(
    server: ScriptedServer, log_directory: Path, mode: str, force: bool, acted: list[tuple[object, ...]]
) -> None:
    states = [ScriptedVm(1)] + [ScriptedVm(state, state=state, lcm_state=0) for state in (4, 5, 8, 9)]
    run = run_hook(server, ScriptedOpenNebula(states), log_directory, mode=mode, force=force)
    assert run.acted == acted


def test_vms_on_storage_that_is_not_shared_are_skipped_and_reported(
    server: ScriptedServer, log_directory: Path
) -> None:
    world = ScriptedOpenNebula([ScriptedVm(1, datastore_id=101), ScriptedVm(2)])
    run = run_hook(server, world, log_directory)
    assert run.acted == [("resched", 2)]
    assert run.outcome == Outcome(0, "fenced; of 2 VMs: 1 skipped, 1 rescheduled")
    assert "VM 1 skipped: its system datastore 101 is not shared" in run.log


@pytest.mark.parametrize("datastore_id", [102, 999])
def test_storage_that_does_not_say_whether_it_is_shared_is_a_failure(
    server: ScriptedServer, log_directory: Path, datastore_id: int
) -> None:
    run = run_hook(server, ScriptedOpenNebula([ScriptedVm(1, datastore_id=datastore_id)]), log_directory)
    assert run.acted == []
    assert run.outcome.code == 255


def test_a_refused_vm_is_reported_and_the_others_still_treated(server: ScriptedServer, log_directory: Path) -> None:
    world = ScriptedOpenNebula([ScriptedVm(1, refused=True), ScriptedVm(2)])
    run = run_hook(server, world, log_directory)
    assert run.acted == [("resched", 1), ("resched", 2)]
    assert run.outcome == Outcome(255, "fenced; of 2 VMs: 1 FAILED, 1 rescheduled")
    assert "[HOST 13][E] VM 1 FAILED: [one.vm.action] wrong state" in run.log


def test_an_outage_of_the_server_is_borne(server: ScriptedServer, log_directory: Path) -> None:
    run = run_hook(server, ScriptedOpenNebula([ScriptedVm(1)], outage=20), log_directory, pause=0)
    assert run.clock.slept == [2.0] * 20
    assert run.acted == [("resched", 1)]


def test_an_outage_of_more_than_a_minute_ends_the_run(server: ScriptedServer, log_directory: Path) -> None:
    with pytest.raises(Unreachable, match="HTTP 503"):
        run_hook(server, ScriptedOpenNebula([ScriptedVm(1)], outage=10_000), log_directory, pause=0)


def test_an_unknown_host_ends_the_run(server: ScriptedServer, log_directory: Path) -> None:
    def missing(host_id: int) -> str:
        return ScriptedOpenNebula().host(host_id + 1)

    world = ScriptedOpenNebula()
    server.answers = world.answers() | {"one.host.info": missing}
    clock = FakeClock()
    client = PatientClient(Client(Connection(server.endpoint, "a:b")), clock)
    log = HookLog({"ONE_LOG_DIR": str(log_directory)})
    failover = ClassicFailover(
        client, HookArguments(HOST_ID, "migrate"), log, 1.0, clock, lambda host_xml: FenceResult(True)
    )
    with pytest.raises(ApiError, match="Error getting host"):
        failover.run()


@pytest.mark.parametrize(("published", "seconds"), [("", 60.0), ("1", 1.0), ("0", 60.0), ("soon", 60.0)])
def test_the_cycle_is_what_the_server_publishes_or_a_minute(published: str, seconds: float) -> None:
    assert cycle_s(parse(ScriptedOpenNebula(interval=published).config(), "the test")) == seconds
