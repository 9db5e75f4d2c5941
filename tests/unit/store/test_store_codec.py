"""Every class of the model goes to text and comes back the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.engine.ports import Stored
from holdfast.model.effect import Effect
from holdfast.model.enums import EffectKind, EffectState, FailoverMode, FailoverState, HistoryAction
from holdfast.model.errors import StoreError
from holdfast.model.failover import Failover
from holdfast.model.hook import Hook, HookExecution
from holdfast.model.template import Section, Template
from holdfast.model.vm import History, Vm
from holdfast.model.vm_states import LcmState, VmState
from holdfast.store.codec import decode, encode

KINDS: tuple[type[Any], ...] = (*get_args(Stored), HookExecution)

any_text = st.text(st.characters(exclude_categories=()), max_size=12)
sections = st.dictionaries(any_text, any_text, max_size=3).map(Section)
templates = st.lists(st.tuples(any_text, any_text | sections), max_size=5).map(Template)
st.register_type_strategy(Template, templates)
st.register_type_strategy(Mapping, st.dictionaries(any_text, any_text, max_size=3))  # the model's are all of text
st.register_type_strategy(str, any_text)
st.register_type_strategy(float, st.floats(allow_nan=False))


def whole(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Objects of the class in which every field is drawn, those with a default too."""
    return st.builds(kind, **{field.name: ... for field in fields(kind)})


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_an_object_comes_back_as_it_was(kind: type[Any], data: st.DataObject) -> None:
    stored = data.draw(whole(kind))
    text = encode(stored)
    assert decode(kind, text) == stored
    assert encode(decode(kind, text)) == text
    assert text.isascii(), "any database encoding must hold it"


def a_vm() -> Vm:
    history = History(0, 5, "node5", 0, 100, "kvm", "shared", stime=7, action=HistoryAction.MIGRATE)
    template = Template([("CPU", "1"), ("DISK", {"IMAGE_ID": "3"}), ("DISK", {"IMAGE_ID": "4"})])
    return Vm(17, 0, 0, "web", VmState.ACTIVE, LcmState.RUNNING, template, history=(history,), may_run_on=(5, 6))


def test_the_text_is_short_and_names_its_fields() -> None:
    assert json.loads(encode(a_vm())) == {
        "oid": 17,
        "uid": 0,
        "gid": 0,
        "name": "web",
        "state": 3,
        "lcm_state": 3,
        "template": [["CPU", "1"], ["DISK", {"IMAGE_ID": "3"}], ["DISK", {"IMAGE_ID": "4"}]],
        "history": [
            {
                "seq": 0,
                "hid": 5,
                "hostname": "node5",
                "cid": 0,
                "ds_id": 100,
                "vm_mad": "kvm",
                "tm_mad": "shared",
                "stime": 7,
                "action": 1,
            }
        ],
        "may_run_on": [5, 6],
    }
    assert " " not in encode(a_vm())


def test_what_comes_back_has_the_models_own_types() -> None:
    vm = decode(Vm, encode(a_vm()))
    assert isinstance(vm.history[0].action, HistoryAction)
    assert isinstance(vm.state, VmState)
    assert isinstance(vm.may_run_on, tuple)
    assert isinstance(vm.template.pairs[1][1], Section)
    hash(vm)


def test_enumerations_are_written_by_value() -> None:
    effect = Effect(1, EffectKind.VMM_DEPLOY, 17, 5, 1.0, 2.0, 1, state=EffectState.RUNNING, args={"A": "b"})
    written = json.loads(encode(effect))
    assert (written["kind"], written["state"], written["args"]) == ("vmm.deploy", "running", {"A": "b"})


def test_a_failover_keeps_its_deep_rows() -> None:
    failover = Failover(1, 5, "node5", FailoverState.FENCING, FailoverMode.MIGRATE, "oneadmin", 1.5)
    assert decode(Failover, encode(failover)) == failover


def test_a_field_that_is_missing_takes_its_default() -> None:
    hook = decode(Hook, '{"oid":3,"name":"ft","type":"state"}')
    assert hook == Hook(3, "ft", "state")


def test_a_mutable_default_is_not_shared_between_objects() -> None:
    text = encode(Effect(1, EffectKind.HOOK, 17, 5, 1.0, 2.0, 1))
    assert decode(Effect, text).args is not decode(Effect, text).args


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        (Hook, '{"oid":3,"name":"ft","type":"state","colour":"red"}', "field colour of Hook is unknown"),
        (Hook, '{"oid":3,"type":"state"}', "field name of Hook is missing"),
        (Hook, '{"oid":3,"name":"ft","type":"state","template":[["A"]]}', "not enough values"),
        (Hook, '{"oid":3,"name":"ft","type":"state","template":7}', "not iterable"),
        (Hook, "[]", r"a Hook is written as an object, not \[\]"),
        (Hook, '{"oid":3', "Expecting"),
        (Vm, encode(a_vm()).replace('"action":1', '"action":77'), "77 is no HistoryAction"),
        (Vm, encode(a_vm()).replace('"action":1', '"action":[1]'), "unhashable"),
        (Vm, encode(a_vm()).replace('"hid":5', '"hid":5,"rack":9'), "field rack of History is unknown"),
    ],
)
def test_text_of_another_version_is_refused_by_name(kind: type[Any], text: str, reason: str) -> None:
    with pytest.raises(StoreError, match=reason):
        decode(kind, text)


@dataclass(frozen=True, slots=True)
class _Unstorable:
    oid: int
    value: complex


def test_a_field_whose_type_has_no_form_is_refused_by_name() -> None:
    with pytest.raises(StoreError, match=r"_Unstorable cannot be stored: the type .*complex.* has no form"):
        encode(_Unstorable(1, 1j))
