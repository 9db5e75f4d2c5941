"""Template text: what is read, what is written, and what a refusal says."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.model.errors import TemplateError
from holdfast.model.template import Template
from holdfast.model.template_text import parse_any, parse_text, write_text

NAMES = st.from_regex(r"\A[A-Z_][A-Z0-9_.\-]{0,8}\Z")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
VECTORS = st.dictionaries(NAMES, TEXTS, max_size=4)
TEMPLATES = st.lists(st.tuples(NAMES, TEXTS | VECTORS), max_size=8).map(Template)


@given(TEMPLATES)
def test_what_is_written_is_read_back_to_the_same_value(template: Template) -> None:
    assert parse_text(write_text(template)) == template


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_with_its_place_and_nothing_else(text: str) -> None:
    refusal = None
    try:
        parse_text(text)
    except TemplateError as error:
        refusal = error.message
    assert refusal is None or re.match(r"Cannot parse template at line \d+, column \d+: .+\.\Z", refusal, re.DOTALL)


@given(st.lists(st.sampled_from(["A", "=", "[", "]", ",", '"', "\\", "#", "\n", " ", "x", "<"]), max_size=25))
def test_any_mixture_of_the_languages_signs_is_read_or_refused(signs: list[str]) -> None:
    try:
        template = parse_text("".join(signs))
    except TemplateError:
        return
    assert parse_text(write_text(template)) == template


def test_a_template_as_people_write_it() -> None:
    template = parse_text(
        """
        # a small machine
        name   = web 1   # stays in the value: bare values end with the line
        CPU=0.5
        DISK = [ IMAGE = "alpine, small", # the system
                 dev_prefix=vd ]
        CONTEXT = [ SSH_PUBLIC_KEY = "one
two", NETWORK = yes,]
        EMPTY =
        DESCRIPTION = "say \\"hi\\" on C:\\\\"
        """
    )
    assert template.get("NAME") == "web 1   # stays in the value: bare values end with the line"
    assert template.get("CPU") == "0.5"
    assert template.section("DISK") == {"IMAGE": "alpine, small", "DEV_PREFIX": "vd"}
    assert template.section("CONTEXT") == {"SSH_PUBLIC_KEY": "one\ntwo", "NETWORK": "yes"}
    assert template.get("EMPTY", "absent") == ""
    assert template.get("DESCRIPTION") == 'say "hi" on C:\\'


def test_a_name_may_repeat_and_an_empty_vector_is_a_vector() -> None:
    template = parse_text("A=1\nA=2\nB=[]")
    assert template.pairs[:2] == (("A", "1"), ("A", "2"))
    assert template.sections("B") == ({},)


def test_the_last_of_two_equal_names_in_a_vector_counts() -> None:
    assert parse_text('A=[B="1",B="2"]').section("A") == {"B": "2"}


def test_an_empty_text_is_an_empty_template() -> None:
    assert parse_text("") == parse_text("  # nothing\n\n") == Template()


@pytest.mark.parametrize(
    ("text", "line", "column", "what"),
    [
        ("= 1", 1, 1, "expected an attribute name, found '='"),
        ("A=1\n  7B=2", 2, 3, "expected an attribute name, found '7'"),
        ("CPU 1", 1, 5, "expected '=' after CPU, found '1'"),
        ("CPU", 1, 4, "expected '=' after CPU, found the end of the text"),
        ('A="x\n\ny', 1, 3, "this '\"' is never closed"),
        ('A="x\\"', 1, 3, "this '\"' is never closed"),
        ("A=1\nDISK=[ B=1,\nC=2", 2, 6, "the '[' of DISK is never closed"),
        ('DISK=[ B="1" C="2" ]', 1, 14, "expected ',' or ']' in DISK, found 'C'"),
        ("DISK=[ B ]", 1, 10, "expected '=' after B, found ']'"),
        ("DISK=[ , ]", 1, 8, "expected an attribute name, found ','"),
    ],
)
def test_a_refusal_names_line_column_and_what_is_wrong(text: str, line: int, column: int, what: str) -> None:
    with pytest.raises(TemplateError) as caught:
        parse_text(text)
    assert caught.value.message == f"Cannot parse template at line {line}, column {column}: {what}."


def test_attributes_may_share_a_line_after_a_quoted_value() -> None:
    assert parse_text('A="1" B=2 ]').singles() == {"A": "1", "B": "2 ]"}


def test_what_begins_with_a_pointed_bracket_is_xml() -> None:
    assert parse_any(" \n<T><CPU>1</CPU></T>") == parse_any("CPU=1")


def test_reading_takes_time_in_proportion_to_the_text() -> None:
    text = (
        "DISK=[" + ",".join(f'A{number}="{number}"' for number in range(20_000)) + "]\n" + " \t" * 50_000 + "#" * 50_000
    )
    assert len(parse_text(text).section("DISK")) == 20_000
