"""Commands on hooks, and the executions that events and users ask for."""

import pytest

from holdfast.engine import commands as c
from holdfast.engine.events import HostAlive, HostSilent
from holdfast.hooks.match import Matcher
from holdfast.model.effect import Answer, Effect
from holdfast.model.enums import EffectKind
from holdfast.model.errors import ActionError, HoldfastError, NoSuchObject
from holdfast.model.hook import Hook
from tests.unit.engine.rig import Rig

ON_ERROR = 'NAME=host_error\nTYPE=State\nRESOURCE=HOST\nSTATE=error\nCOMMAND="ft/host_error"\nARGUMENTS="$ID -m"\n'


@pytest.fixture
def rig() -> Rig:
    """Two hosts in touch; hooks really match."""
    return Rig(hosts=2, matcher=Matcher(lambda subject: f"<X>{subject.oid}</X>"))


def hook(rig: Rig, oid: int) -> Hook:
    """The committed hook."""
    return rig.engine.state.hooks[oid]


def executions(rig: Rig) -> list[Effect]:
    """Open orders to execute a hook."""
    return [order for order in rig.orders if order.kind is EffectKind.HOOK]


def test_a_hook_is_stored_as_opennebula_stores_it(rig: Rig) -> None:
    oid = rig.call(c.AllocateHook(ON_ERROR + "remote=Yes\nDESCRIPTION=x"))
    assert (hook(rig, oid).name, hook(rig, oid).type) == ("host_error", "state")
    template = hook(rig, oid).template
    assert (template.get("STATE"), template.get("REMOTE"), template.get("DESCRIPTION")) == ("ERROR", "YES", "x")
    assert {"NAME", "TYPE"}.isdisjoint(template.names())
    assert hook(rig, rig.call(c.AllocateHook(ON_ERROR.replace("host_error", "b", 1)))).template.get("REMOTE") == "NO"


@pytest.mark.parametrize(
    ("on", "state", "lcm_state"),
    [
        ("prolog", "ACTIVE", "PROLOG"),
        ("RUNNING", "ACTIVE", "RUNNING"),
        ("SHUTDOWN", "ACTIVE", "EPILOG"),
        ("STOP", "STOPPED", "LCM_INIT"),
        ("DONE", "DONE", "LCM_INIT"),
        ("UNKNOWN", "ACTIVE", "UNKNOWN"),
        ("CUSTOM\nSTATE=active\nLCM_STATE=boot", "ACTIVE", "BOOT"),
    ],
)
def test_on_is_a_shortcut_for_two_states(rig: Rig, on: str, state: str, lcm_state: str) -> None:
    oid = rig.call(c.AllocateHook(f"NAME=h\nTYPE=state\nRESOURCE=VM\nCOMMAND=x\nON={on}"))
    template = hook(rig, oid).template
    assert (template.get("STATE"), template.get("LCM_STATE")) == (state, lcm_state)
    assert "ON" not in template


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("TYPE=state", "cannot be empty"),
        ("NAME=h\nTYPE=cron", "Invalid Hook type: cron"),
        ("NAME=h\nTYPE=api\nCALL=one.vm.allocate\nCOMMAND=x", "use TYPE=state"),
        ("NAME=h\nTYPE=state\nRESOURCE=HOST\nSTATE=ERROR", "No COMMAND"),
        ("NAME=h\nTYPE=state\nCOMMAND=x", "RESOURCE attribute is required"),
        ("NAME=h\nTYPE=state\nCOMMAND=x\nRESOURCE=host\nSTATE=ERROR", "Invalid resource type: host"),
        ("NAME=h\nTYPE=state\nCOMMAND=x\nRESOURCE=HOST\nSTATE=BROKEN", "Invalid STATE: BROKEN"),
        ("NAME=h\nTYPE=state\nCOMMAND=x\nRESOURCE=HOST", "Invalid STATE"),
        ("NAME=h\nTYPE=state\nCOMMAND=x\nRESOURCE=IMAGE", "STATE attribute not found"),
        ("NAME=h\nTYPE=state\nCOMMAND=x\nRESOURCE=IMAGE\nSTATE=INIT", "unknown STATE condition: INIT"),
        ("NAME=h\nTYPE=state\nCOMMAND=x\nRESOURCE=VM\nON=SOMETIMES", "Unknown state condition: SOMETIMES"),
        ("NAME=h\nTYPE=state\nCOMMAND=x\nRESOURCE=VM\nSTATE=ACTIVE", "Unknown state condition"),
        ("NAME=h\nTYPE=state\nCOMMAND=x\nRESOURCE=VM\nON=CUSTOM\nSTATE=X\nLCM_STATE=BOOT", "Wrong STATE: X"),
        ("NAME=h\nTYPE=state\nCOMMAND=x\nRESOURCE=VM\nON=CUSTOM\nSTATE=DONE\nLCM_STATE=X", "Wrong LCM_STATE: X"),
        ("NAME=h\nTYPE=state\nCOMMAND=x\nRESOURCE=HOST\nSTATE=ERROR\nTIMEOUT=soon", "TIMEOUT must be a whole number"),
        ("NAME=h\nTYPE=state\nCOMMAND=x\nRESOURCE=HOST\nSTATE=ERROR\nTIMEOUT=²", "TIMEOUT must be a whole number"),
    ],
)
def test_a_hook_that_cannot_be_is_refused_with_the_rule(rig: Rig, text: str, said: str) -> None:
    with pytest.raises(HoldfastError) as caught:
        rig.call(c.AllocateHook(text))
    assert said in caught.value.message
    assert rig.engine.state.hooks == {}


def test_an_update_that_would_make_the_hook_unusable_is_refused(rig: Rig) -> None:
    oid = rig.call(c.AllocateHook(ON_ERROR))
    with pytest.raises(HoldfastError, match=r"Cannot update template\. No COMMAND"):
        rig.call(c.UpdateHook(oid, "RESOURCE=HOST\nSTATE=ERROR"))
    rig.call(c.UpdateHook(oid, 'ARGUMENTS="$ID -r"', append=True))
    assert hook(rig, oid).template.get("ARGUMENTS") == "$ID -r"
    assert hook(rig, oid).template.get("COMMAND") == "ft/host_error"


def test_names_of_hooks_are_unique_and_can_be_changed(rig: Rig) -> None:
    oid = rig.call(c.AllocateHook(ON_ERROR))
    with pytest.raises(HoldfastError, match=f"already taken by HOOK {oid}"):
        rig.call(c.AllocateHook(ON_ERROR))
    rig.call(c.RenameHook(oid, "other"))
    assert rig.call(c.AllocateHook(ON_ERROR)) == oid + 1
    with pytest.raises(ActionError, match="already taken"):
        rig.call(c.RenameHook(oid, "host_error"))


def test_a_lock_has_a_level_and_a_time_and_can_be_tested(rig: Rig) -> None:
    oid = rig.call(c.AllocateHook(ON_ERROR))
    rig.call(c.LockHook(oid, 2))
    assert (hook(rig, oid).lock, hook(rig, oid).lock_time) == (2, 1_000_000)
    rig.call(c.LockHook(oid, 4))
    with pytest.raises(ActionError, match="already locked"):
        rig.call(c.LockHook(oid, 1, test=True))
    with pytest.raises(ActionError, match="Wrong lock level 5"):
        rig.call(c.LockHook(oid, 5))
    rig.call(c.UnlockHook(oid))
    assert hook(rig, oid).lock == 0


def test_an_event_and_the_execution_it_wakes_are_stored_together(rig: Rig) -> None:
    oid = rig.call(c.AllocateHook(ON_ERROR))
    rig.lose(1)
    (order,) = executions(rig)
    assert (order.subject, order.args["ARGUMENTS"]) == (oid, "1 -m")
    rig.restart()
    assert executions(rig) == [order]


def test_a_locked_hook_fires_all_the_same(rig: Rig) -> None:
    oid = rig.call(c.AllocateHook(ON_ERROR))
    rig.call(c.LockHook(oid, 4))
    rig.lose(1)
    assert len(executions(rig)) == 1


def test_a_refused_event_wakes_no_hook(rig: Rig) -> None:
    rig.call(c.AllocateHook("NAME=h\nTYPE=state\nRESOURCE=VM\nON=CUSTOM\nSTATE=PENDING\nLCM_STATE=LCM_INIT\nCOMMAND=x"))
    with pytest.raises(HoldfastError):
        rig.call(c.AllocateVm("CPU=1\nMEMORY=64\nDISK=[IMAGE_ID=5]"))
    assert executions(rig) == []


def test_two_state_changes_in_one_batch_wake_two_hooks(rig: Rig) -> None:
    rig.call(c.AllocateHook(ON_ERROR))
    rig.call(c.AllocateHook("NAME=back\nTYPE=state\nRESOURCE=HOST\nSTATE=MONITORED\nCOMMAND=x"))
    rig.tell(HostSilent(0, rig.now, False, ()), HostAlive(0, "boot-host1-1"))
    assert [order.args["ARGUMENTS"] for order in executions(rig)] == ["0 -m", ""]


def test_an_execution_has_the_hooks_own_limit_or_the_usual_one(rig: Rig) -> None:
    rig.call(c.AllocateHook(ON_ERROR + "TIMEOUT=7"))
    rig.call(c.AllocateHook(ON_ERROR.replace("host_error", "b", 1) + "TIMEOUT=0"))
    rig.lose(1)
    assert [order.deadline - order.planned_at for order in executions(rig)] == [7.0, 600.0]


def test_executions_are_numbered_and_logged_with_what_was_run(rig: Rig) -> None:
    oid = rig.call(c.AllocateHook(ON_ERROR))
    rig.lose(1)
    rig.lose(0)
    for order in executions(rig):
        rig.reply(order, Answer(True, values={"COMMAND": "/x -m", "STDOUT": "b3V0", "CODE": "3"}))
    records = rig.engine.state.executions[oid]
    assert [(record.execution_id, record.arguments, record.code) for record in records] == [
        (0, "1 -m", 3),
        (1, "0 -m", 3),
    ]
    assert (records[0].command, records[0].stdout_b64, records[0].retry) == ("/x -m", "b3V0", False)
    assert hook(rig, oid).next_execution == 2


def test_an_execution_without_an_answer_is_logged_as_failed(rig: Rig) -> None:
    oid = rig.call(c.AllocateHook(ON_ERROR + "TIMEOUT=7"))
    rig.lose(1)
    rig.tick(60)
    (record,) = rig.engine.state.executions[oid]
    assert record.code == 255


def test_a_retry_runs_with_the_old_arguments_and_says_so(rig: Rig) -> None:
    oid = rig.call(c.AllocateHook(ON_ERROR))
    rig.lose(1)
    rig.settle()
    rig.call(c.RetryHook(oid, 0))
    (order,) = executions(rig)
    assert order.args["ARGUMENTS"] == "1 -m"
    rig.settle()
    assert [record.retry for record in rig.engine.state.executions[oid]] == [False, True]
    with pytest.raises(ActionError, match=f"no execution 7 in its log: see onehook show {oid}"):
        rig.call(c.RetryHook(oid, 7))


def test_the_log_keeps_the_newest_executions_after_a_restart_too(rig: Rig) -> None:
    oid = rig.call(c.AllocateHook(ON_ERROR))
    for _ in range(25):
        rig.lose(1)
        rig.tell(HostAlive(1, "boot-host2-1"))
    rig.settle()
    assert [record.execution_id for record in rig.engine.state.executions[oid]] == list(range(5, 25))
    rig.restart()
    assert [record.execution_id for record in rig.engine.state.executions[oid]] == list(range(5, 25))


def test_a_removed_hook_takes_its_log_along_and_a_late_answer_changes_nothing(rig: Rig) -> None:
    oid = rig.call(c.AllocateHook(ON_ERROR))
    rig.lose(1)
    rig.settle()
    rig.lose(0)
    (order,) = executions(rig)
    rig.call(c.DeleteHook(oid))
    assert oid not in rig.engine.state.executions
    rig.reply(order, Answer(True))
    assert oid not in rig.engine.state.executions
    for command in (c.DeleteHook(oid), c.UpdateHook(oid, ""), c.RetryHook(oid, 0), c.LockHook(oid, 1)):
        with pytest.raises(NoSuchObject, match="Error getting hook"):
            rig.call(command)
