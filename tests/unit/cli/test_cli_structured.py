"""XML, JSON and YAML output."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from holdfast.cli.pretty import indented
from holdfast.cli.structured import json_text, yaml_text
from holdfast.cli.xmltree import parse
from tests.unit.cli.scripted_server import sample


def test_json_has_lists_where_elements_may_repeat_and_empty_objects_for_empty_elements() -> None:
    one = parse("<VM_POOL><VM><ID>1</ID><TEMPLATE><DISK><A>1</A></DISK><X/></TEMPLATE></VM></VM_POOL>", "the test")
    assert json.loads(json_text(one)) == {"VM_POOL": {"VM": [{"ID": "1", "TEMPLATE": {"DISK": [{"A": "1"}], "X": {}}}]}}


def test_json_joins_repeated_elements_that_no_schema_knows() -> None:
    root = parse("<HOST><TEMPLATE><VM>1</VM><VM>2</VM><VM>3</VM></TEMPLATE></HOST>", "the test")
    assert json.loads(json_text(root)) == {"HOST": {"TEMPLATE": {"VM": ["1", "2", "3"]}}}


def test_json_keeps_every_value_a_string() -> None:
    document = json.loads(json_text(parse(sample("host_monitored_sim.xml"), "the test")))
    assert document["HOST"]["ID"] == "2"
    assert document["HOST"]["VMS"] == {"ID": ["0"]}
    assert document["HOST"]["HOST_SHARE"]["PCI_DEVICES"] == {}


def test_yaml_nests_by_two_blanks_and_quotes_every_value() -> None:
    root = parse('<A><B>0</B><C/><DISK>x</DISK><D><E>"no"\n</E></D></A>', "the test")
    assert yaml_text(root) == '---\nA:\n  B: "0"\n  C: {}\n  DISK: "x"\n  D:\n    E: "\\"no\\"\\n"'


def test_yaml_lists_stand_under_their_name() -> None:
    root = parse("<VM_POOL><VM><ID>1</ID><VMS><ID>2</ID><ID>3</ID></VMS></VM><VM/></VM_POOL>", "the test")
    assert yaml_text(root) == (
        '---\nVM_POOL:\n  VM:\n  - ID: "1"\n    VMS:\n      ID:\n      - "2"\n      - "3"\n  - {}'
    )


def test_xml_is_indented_and_keeps_cdata() -> None:
    assert indented("<A><B><![CDATA[x < y]]></B><C></C><D>a &amp; b</D><E k='&quot;'><F/></E></A>") == (
        '<A>\n  <B><![CDATA[x < y]]></B>\n  <C/>\n  <D>a &amp; b</D>\n  <E k="&quot;">\n    <F/>\n  </E>\n</A>'
    )


def test_xml_that_is_indented_already_stays_so() -> None:
    once = indented(sample("vm_running_disk_nic.xml"))
    assert indented(once) == once


@given(st.recursive(st.text('ab<&]>"', max_size=6), lambda inner: st.lists(inner, min_size=1, max_size=3)))
def test_indenting_never_changes_what_a_document_says(tree: object) -> None:
    text = _written(tree)
    before, after = parse(text, "the test"), parse(indented(text), "the test")
    assert [(e.tag, (e.text or "").strip() if len(e) else e.text) for e in after.iter()] == [
        (e.tag, (e.text or "").strip() if len(e) else e.text) for e in before.iter()
    ]


def _written(tree: object) -> str:
    if isinstance(tree, list):
        return "<N>" + "".join(map(_written, tree)) + "</N>"
    text = str(tree)
    if "]]>" in text or len(text) % 2:
        return "<T>" + text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") + "</T>"
    return f"<T><![CDATA[{text}]]></T>"
