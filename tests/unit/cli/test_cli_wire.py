"""The XML-RPC dialect: what we send is understood by others, and nothing hostile gets in."""

from __future__ import annotations

from xmlrpc import client as xmlrpc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.cli.errors import CliError
from holdfast.cli.wire import Fault, decode_reply, encode_call
from holdfast.cli.xmltree import parse
from tests.unit.cli.scripted_server import sample

_TEXT = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff", include_characters="\n\t")
)
_SCALARS = st.one_of(_TEXT, st.booleans(), st.integers(-(2**31), 2**31 - 1))


@given(st.lists(_SCALARS, max_size=5))
def test_every_argument_arrives_as_it_was_sent(arguments: list[str | bool | int]) -> None:
    received, method = xmlrpc.loads(encode_call("one.vm.info", tuple(arguments)), use_builtin_types=True)
    assert method == "one.vm.info"
    assert list(received) == arguments
    assert [type(value) for value in received] == [type(value) for value in arguments]


@given(st.lists(_SCALARS, min_size=1, max_size=4))
def test_every_answer_is_read_as_it_was_meant(values: list[str | bool | int]) -> None:
    reply = xmlrpc.dumps(([True, *values],), methodresponse=True)
    assert decode_reply(reply, "the test") == [True, *values]


def test_a_recorded_success_of_opennebula_is_read() -> None:
    assert decode_reply(sample("envelope_success.xml"), "the test") == [True, "7.5.80", 0]


def test_a_recorded_error_of_opennebula_is_read() -> None:
    assert decode_reply(sample("envelope_error_no_such_vm.xml"), "the test") == [
        False,
        "[one.vm.info] Error getting virtual machine [999999].",
        1024,
        999999,
        -1,
    ]


def test_a_recorded_fault_of_opennebula_is_raised_with_its_code() -> None:
    with pytest.raises(Fault) as caught:
        decode_reply(sample("envelope_fault_unknown_method.xml"), "the test")
    assert caught.value.code == -506
    assert caught.value.message == "Method 'one.nosuch.method' not defined"


def test_a_number_beyond_32_bits_is_sent_as_i8() -> None:
    assert b"<i8>4294967296</i8>" in encode_call("one.x", (2**32,))


def test_a_character_that_xml_cannot_carry_is_refused_by_name() -> None:
    with pytest.raises(CliError, match=r"U\+001B"):
        encode_call("one.vm.rename", (1, "a\x1b[31mb"))


@pytest.mark.parametrize(
    "prolog",
    [
        '<!DOCTYPE a [<!ENTITY b "c">]>',
        '<?xml version="1.0"?><!DOCTYPE a SYSTEM "file:///etc/passwd">',
        "<?xml version='1.0'?>\n<!-- a > b --> <?php ?>\n<!DOCTYPE a>",
        "\ufeff<!DOCTYPE a>",
    ],
)
def test_a_document_type_is_refused_wherever_it_may_stand(prolog: str) -> None:
    with pytest.raises(CliError, match="document type"):
        parse(f"{prolog}<a>&b;</a>", "the test")


def test_text_that_only_looks_like_a_document_type_is_allowed() -> None:
    assert parse("<a><![CDATA[<!DOCTYPE x>]]></a>", "the test").text == "<!DOCTYPE x>"


@pytest.mark.parametrize("text", ["", "hello", "<html></html>", "<methodResponse><params/></methodResponse>"])
def test_what_is_not_a_result_array_is_told_in_one_line(text: str) -> None:
    with pytest.raises(CliError, match=r"^the test (sent|answered)[^\n]*$"):
        decode_reply(text, "the test")
