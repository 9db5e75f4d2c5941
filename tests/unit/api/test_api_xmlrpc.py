"""The codec: what is read, what is refused with which fault, and replies to the letter of OpenNebula's."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from holdfast.api.responder import Responder
from holdfast.api.xmlrpc import (
    LIMIT_EXCEEDED,
    MAX_DEPTH,
    MAX_PARAMS,
    MAX_REQUEST_BYTES,
    PARSE_ERROR,
    Fault,
    Foreign,
    Request,
    Value,
    error_reply,
    fault_reply,
    int_reply,
    parse_request,
    text_reply,
    value_reply,
)
from tests.unit.api.world import ADMIN_SESSION, installation, reply_values

SAMPLES = Path(__file__).parents[2] / "data" / "one"


def call(*values: str) -> bytes:
    params = "".join(f"<param>{value}</param>" for value in values)
    return f"<methodCall><methodName>one.x.y</methodName><params>{params}</params></methodCall>".encode()


def read(value: str) -> Value:
    return parse_request(call(value)).params[0]


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        ("<value><int>5</int></value>", 5),
        ("<value><i4>-1</i4></value>", -1),
        ("<value><i8>9000000000</i8></value>", 9000000000),
        ("<value> <i4> +7\n</i4> </value>", 7),
        ("<value><boolean>1</boolean></value>", True),
        ("<value><boolean>0</boolean></value>", False),
        ("<value><string>a &lt; b</string></value>", "a < b"),
        ("<value><string><![CDATA[a]]><!-- no -->b</string></value>", "ab"),
        ("<value><string/></value>", ""),
        ("<value>untyped </value>", "untyped "),
        ("<value/>", ""),
        ("<value><array><data><value><i4>1</i4></value><value>x</value></data></array></value>", [1, "x"]),
        ("<value><array><data/></array></value>", []),
        ("<value><double>1.5</double></value>", Foreign("double")),
        ("<value><nil/></value>", Foreign("nil")),
        ("<value><struct><member/></struct></value>", Foreign("struct")),
    ],
)
def test_values_are_read_as_their_type_says(value: str, meaning: Value) -> None:
    found = read(value)
    assert found == meaning
    assert type(found) is type(meaning)


def test_the_declared_encoding_of_a_request_is_honoured() -> None:
    body = '<?xml version="1.0" encoding="iso-8859-1"?>' + call("<value>größe</value>").decode()
    assert parse_request(body.encode("iso-8859-1")) == Request("one.x.y", ("größe",))


def test_a_call_without_params_has_none() -> None:
    assert parse_request(b"<methodCall><methodName> a.b </methodName></methodCall>") == Request("a.b", ())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<methodCall>",
        b"<other/>",
        b"<methodCall/>",
        b"<methodCall><methodName> </methodName></methodCall>",
        b"\xff\xfe\x00",
        b"<methodCall><methodName>\xff</methodName></methodCall>",
        b'<?xml version="1.0" encoding="no-such"?><methodCall/>',
        call("<value><i4>1</i4><i4>2</i4></value>"),
        call("<value><i4></i4></value>"),
        call("<value><i4>1_0</i4></value>"),
        call("<value><i4>2147483648</i4></value>"),
        call("<value><i8>9999999999999999999</i8></value>"),
        call("<value><int>\u0663</int></value>"),
        call("<value><boolean>true</boolean></value>"),
        call("<value><string><b/></string></value>"),
        call("<value><array/></value>"),
        call("<value><array><data><int>1</int></data></array></value>"),
        call(""),
        call("<int>1</int>"),
        call("<value/><value/>"),
        b"<methodCall><methodName>a</methodName><params><value/></params></methodCall>",
    ],
)
def test_what_is_no_call_is_a_parse_fault(body: bytes) -> None:
    with pytest.raises(Fault) as caught:
        parse_request(body)
    assert caught.value.code == PARSE_ERROR


@pytest.mark.parametrize(
    "declaration",
    [
        '<!DOCTYPE m [<!ENTITY e "x">]>',
        '<!DOCTYPE m [<!ENTITY e SYSTEM "file:///etc/hostname">]>',
        '<!DOCTYPE m SYSTEM "http://192.0.2.1/m.dtd">',
        '<!DOCTYPE m [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY e "&b;&b;&b;&b;">]>',
    ],
)
def test_document_types_and_entities_are_refused(declaration: str) -> None:
    body = declaration + call("<value>&e;</value>").decode()
    with pytest.raises(Fault) as caught:
        parse_request(body.encode())
    assert caught.value.code == PARSE_ERROR


@pytest.mark.parametrize(
    "body",
    [
        b"<" + b"x" * MAX_REQUEST_BYTES,
        call(*["<value/>"] * (MAX_PARAMS + 1)),
        call("<value><array><data>" * MAX_DEPTH + "<value/>" + "</data></array></value>" * MAX_DEPTH),
    ],
)
def test_what_is_too_much_is_a_limit_fault(body: bytes) -> None:
    with pytest.raises(Fault) as caught:
        parse_request(body)
    assert caught.value.code == LIMIT_EXCEEDED


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.xml").read_bytes()


def test_replies_have_every_byte_of_opennebulas() -> None:
    assert b"".join(text_reply("7.5.80")) == sample("envelope_success")
    wrong = error_reply("[one.vm.info] User couldn't be authenticated, aborting call.", 256, -1)
    assert b"".join(wrong) == sample("envelope_error_auth")
    missing = error_reply("[one.vm.info] Error getting virtual machine [999999].", 1024, 999999)
    assert b"".join(missing) == sample("envelope_error_no_such_vm")
    unknown = fault_reply(Fault(-506, "Method 'one.nosuch.method' not defined"))
    assert b"".join(unknown) == sample("envelope_fault_unknown_method")


def test_numbers_are_i4_and_only_beyond_that_i8() -> None:
    assert b"<i4>7</i4>" in int_reply(7)[0]
    assert b"<i8>4294967296</i8>" in int_reply(2**32)[0]
    assert reply_values(error_reply("m", 2048, 2**40)[0])[3] == "-1"


def test_bare_values_may_be_nested() -> None:
    root = etree.fromstring(value_reply([["array", "string"], ["int"]])[0])
    assert root.xpath("//string/text()") == ["array", "string", "int"]


@given(st.text())
def test_any_text_survives_a_reply_but_for_what_xml_cannot_carry(message: str) -> None:
    carried = "".join(mark for mark in message if mark in "\t\n\r" or " " <= mark <= "\ufffd" or mark > "\uffff")
    assert reply_values(error_reply(message, 1, 1)[0])[1] == carried


FRAGMENTS = st.sampled_from(
    [
        "<methodCall>",
        "</methodCall>",
        "<methodName>",
        "</methodName>",
        "<params>",
        "</params>",
        "<param>",
        "</param>",
        "<value>",
        "</value>",
        "<i4>",
        "</i4>",
        "<array>",
        "<data>",
        "<struct>",
        "<nil/>",
        "<!DOCTYPE a>",
        "<![CDATA[",
        "]]>",
        "&lt;",
        "&#0;",
        "-1",
        "one.vm.info",
        ADMIN_SESSION,
        "\x00",
        "<?xml version='1.0' encoding='utf-16'?>",
    ]
)
ANYTHING = st.one_of(
    st.binary(max_size=200), st.lists(FRAGMENTS, max_size=30).map(lambda parts: "".join(parts).encode())
)
TYPED = st.one_of(
    st.integers(-(2**40), 2**40).map(lambda number: f"<int>{number}</int>"),
    st.integers().map(lambda number: f"<i8>{number}</i8>"),
    st.booleans().map(lambda flag: f"<boolean>{flag:d}</boolean>"),
    st.sampled_from(["<string>x</string>", "text", "<nil/>", "<array><data/></array>", "<double>1</double>"]),
)
METHODS = st.sampled_from(
    [
        "one.vm.info",
        "one.vmpool.info",
        "one.vmpool.infoset",
        "one.vm.migrate",
        "one.host.update",
        "one.hooklog.info",
        "one.imagepool.info",
        "one.vn.info",
        "one.nothing",
        "system.listMethods",
        "system.methodHelp",
    ]
)


@settings(max_examples=300)
@given(ANYTHING)
def test_no_bytes_get_anything_but_a_fault_or_a_result(body: bytes) -> None:
    _is_a_reply(body)


@settings(max_examples=300)
@given(METHODS, st.lists(TYPED, max_size=7))
def test_no_arguments_get_anything_but_a_fault_or_a_result(method: str, arguments: list[str]) -> None:
    session = f"<value><string>{ADMIN_SESSION}</string></value>"
    _is_a_reply(call(session, *(f"<value>{each}</value>" for each in arguments)).replace(b"one.x.y", method.encode()))


RESPONDER = Responder(installation())


def _is_a_reply(body: bytes) -> None:
    root = etree.fromstring(b"".join(asyncio.run(RESPONDER.reply(body))))
    assert root.tag == "methodResponse"
    assert root[0].tag in ("params", "fault")
    assert "Internal error" not in "".join(map(str, root.itertext()))
