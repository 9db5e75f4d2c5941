"""Which hooks a state change wakes, and with which arguments."""

import base64
from dataclasses import replace

import pytest

from holdfast.hooks.match import Matcher, Subject
from holdfast.model.enums import HostState, ImageState, ImageType
from holdfast.model.hook import Hook
from holdfast.model.host import Host
from holdfast.model.storage import Image
from holdfast.model.template import EMPTY
from holdfast.model.template_text import parse_text
from holdfast.model.vm import History, Vm
from holdfast.model.vm_states import LcmState, VmState

HOST = Host(4, "host4", HostState.MONITORED, "kvm", "kvm")
ERROR = replace(HOST, state=HostState.ERROR, error_since=99.0)
VM = Vm(7, 0, 0, "web", VmState.ACTIVE, LcmState.BOOT, EMPTY, history=(History(0, 4, "host4", 0, 0, "kvm", "shared"),))
RUNNING = replace(VM, lcm_state=LcmState.RUNNING)
IMAGE = Image(2, "alpine", 1, "default", ImageType.OS, ImageState.LOCKED)
READY = replace(IMAGE, state=ImageState.READY)
ON_ERROR = "RESOURCE=HOST\nSTATE=ERROR\n"
ON_RUNNING = "RESOURCE=VM\nSTATE=ACTIVE\nLCM_STATE=RUNNING\n"


def xml_of(subject: Subject) -> str:
    """Stands for the API's rendering."""
    return f"<{type(subject).__name__}><ID>{subject.oid}</ID>é</{type(subject).__name__}>"


def woken(before: Subject | None, after: Subject, *texts: str) -> list[int]:
    """The ids (positions in ``texts``) of the hooks that fire."""
    hooks = [Hook(number, f"hook{number}", "state", parse_text(text)) for number, text in enumerate(texts)]
    return [order.hook_id for order in Matcher(xml_of).match(before, after, hooks)]


def arguments(subject: Subject, text: str, hook: str = ON_ERROR) -> str:
    """The final argument string."""
    template = parse_text(hook).with_values(ARGUMENTS=text)
    (order,) = Matcher(xml_of).match(None, subject, [Hook(0, "h", "state", template)])
    return order.arguments


def test_entering_a_state_wakes_its_hooks_and_no_others() -> None:
    texts = (
        ON_ERROR,
        "RESOURCE=HOST\nSTATE=MONITORED",
        "RESOURCE=VM\nSTATE=ERROR",
        ON_ERROR,
        "RESOURCE=IMAGE\nSTATE=ERROR",
    )
    assert woken(HOST, ERROR, *texts) == [0, 3]
    assert woken(ERROR, HOST, *texts) == [1]


def test_a_change_that_leaves_the_state_wakes_nothing() -> None:
    assert woken(ERROR, replace(ERROR, name="renamed"), ON_ERROR) == []
    assert woken(RUNNING, replace(RUNNING, name="renamed"), ON_RUNNING) == []


def test_the_creation_of_an_object_enters_its_first_state() -> None:
    assert woken(None, replace(HOST, state=HostState.INIT), "RESOURCE=HOST\nSTATE=INIT") == [0]
    assert woken(
        None, replace(VM, state=VmState.PENDING, lcm_state=LcmState.LCM_INIT), "RESOURCE=VM\nSTATE=PENDING"
    ) == [0]


def test_a_vm_hook_compares_both_states() -> None:
    texts = (ON_RUNNING, "RESOURCE=VM\nSTATE=ACTIVE\nLCM_STATE=BOOT", "RESOURCE=VM\nSTATE=DONE\nLCM_STATE=LCM_INIT")
    assert woken(VM, RUNNING, *texts) == [0]
    assert woken(RUNNING, VM, *texts) == [1]
    assert woken(VM, replace(VM, state=VmState.DONE, lcm_state=LcmState.LCM_INIT), *texts) == [2]


def test_an_image_wakes_image_hooks() -> None:
    assert woken(IMAGE, READY, "RESOURCE=IMAGE\nSTATE=READY", "RESOURCE=HOST\nSTATE=READY") == [0]


def test_a_disabled_host_that_is_lost_wakes_the_hooks_of_error_though_it_keeps_its_state() -> None:
    disabled = replace(HOST, state=HostState.DISABLED)
    lost = replace(disabled, error_since=99.0)
    assert woken(disabled, lost, ON_ERROR, "RESOURCE=HOST\nSTATE=DISABLED") == [0]
    assert woken(lost, disabled, ON_ERROR, "RESOURCE=HOST\nSTATE=DISABLED") == [1]


def test_to_disable_a_lost_host_is_no_new_error() -> None:
    assert woken(ERROR, replace(ERROR, state=HostState.DISABLED), ON_ERROR) == []


def test_a_lost_host_that_is_taken_offline_enters_offline() -> None:
    offline = replace(ERROR, state=HostState.OFFLINE)
    assert woken(ERROR, offline, ON_ERROR, "RESOURCE=HOST\nSTATE=OFFLINE") == [1]
    assert woken(offline, ERROR, ON_ERROR) == [0]


def test_template_is_the_objects_xml_in_base64_on_one_line() -> None:
    word = arguments(ERROR, "$TEMPLATE")
    assert "\n" not in word
    assert base64.b64decode(word, validate=True).decode() == xml_of(ERROR)


def test_only_whole_words_are_replaced_and_blanks_become_one() -> None:
    encoded = base64.b64encode(xml_of(ERROR).encode()).decode()
    assert arguments(ERROR, "$TEMPLATE  -m \t -p 5") == f"{encoded} -m -p 5"
    assert (
        arguments(ERROR, '-$TEMPLATE "$TEMPLATE" $TEMPLATES $template') == '-$TEMPLATE "$TEMPLATE" $TEMPLATES $template'
    )


def test_id_and_name_are_those_of_the_object() -> None:
    assert arguments(ERROR, "$ID $NAME -u") == "4 host4 -u"
    assert arguments(RUNNING, "$ID $NAME", ON_RUNNING) == "7 web"


def test_api_is_empty_for_a_state_hook_and_no_arguments_are_none() -> None:
    assert arguments(ERROR, "-a $API -b") == "-a  -b"
    assert arguments(ERROR, "") == ""


@pytest.mark.parametrize(
    ("subject", "text", "remote_host"),
    [
        (ERROR, ON_ERROR, "host4"),
        (RUNNING, ON_RUNNING, "host4"),
        (replace(RUNNING, history=()), ON_RUNNING, ""),
        (READY, "RESOURCE=IMAGE\nSTATE=READY\n", ""),
    ],
)
def test_a_remote_hook_runs_on_the_objects_host(subject: Subject, text: str, remote_host: str) -> None:
    for remote, expected in (("YES", remote_host), ("no", "")):
        hook = Hook(0, "h", "state", parse_text(f"{text}REMOTE={remote}"))
        (order,) = Matcher(xml_of).match(None, subject, [hook])
        assert order.remote_host == expected
