"""Templates as XML: what clients send, what is sent to them, and what no client may do to us."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from holdfast.model.errors import TemplateError
from holdfast.model.template import Template
from holdfast.model.template_text import parse_text
from holdfast.model.template_xml import cdata, parse_xml, write_xml

NAMES = st.from_regex(r"\A[A-Z_][A-Z0-9_.\-]{0,8}\Z")
CARRIED = st.characters(exclude_categories=["Cs"], exclude_characters="\r\ufffe\uffff", min_codepoint=32) | st.just(
    "\n"
)
ANY = st.characters(exclude_categories=["Cs"]) | st.sampled_from("]>\x00\x01\x0b")


def read_back(xml: str) -> Template:
    """What a client's parser makes of it."""
    return parse_xml(f"<TEMPLATE>{xml}</TEMPLATE>")


def in_order(template: Template) -> list[tuple[str, object]]:
    """Attributes in the order of the XML: by name."""
    return sorted(
        ((name, value if isinstance(value, str) else dict(sorted(value.items()))) for name, value in template),
        key=lambda pair: pair[0],
    )


@given(
    st.lists(
        st.tuples(
            NAMES, st.text(CARRIED, max_size=20) | st.dictionaries(NAMES, st.text(CARRIED), min_size=1, max_size=3)
        ),
        max_size=6,
    ).map(Template)
)
def test_what_is_written_as_xml_is_read_back_by_name(template: Template) -> None:
    assert in_order(read_back(write_xml(template))) == in_order(template)


@given(st.text(ANY, max_size=12))
def test_no_text_breaks_out_of_its_cdata_section(text: str) -> None:
    root = etree.fromstring(f"<A>{cdata(text)}</A>".encode())
    forbidden = {*range(9), 11, 12, *range(14, 32), 0xFFFE, 0xFFFF}
    expected = "".join(letter for letter in text if ord(letter) not in forbidden)
    assert len(root) == 0
    assert (root.text or "") == expected.replace("\r\n", "\n").replace("\r", "\n")


def test_a_forbidden_character_inside_the_end_mark_does_not_end_the_section() -> None:
    assert read_back(f"<A>{cdata(']]' + chr(1) + '><B>1</B>')}</A>").get("A") == "]]><B>1</B>"


def test_text_and_xml_of_the_same_template_are_the_same_value() -> None:
    xml = "<TEMPLATE><cpu>1</cpu><DISK><image_id>3</image_id><!-- the system --></DISK><DISK/></TEMPLATE>"
    assert parse_xml(xml) == parse_text('CPU=1\nDISK=[IMAGE_ID="3"]\nDISK=""')


def test_comments_instructions_namespaces_and_blanks_are_no_attributes() -> None:
    xml = '<?xml version="1.0"?><T xmlns="urn:x"><?do it?><!-- no --> <A>1</A>\n</T>'
    assert parse_xml(xml) == Template([("A", "1")])


def test_attributes_are_written_in_the_order_of_their_names_and_repeated_ones_in_theirs() -> None:
    template = Template([("Z", "1"), ("D", {"B": "2", "A": "1"}), ("A", "x"), ("D", {"A": "3"})])
    assert write_xml(template) == (
        "<A><![CDATA[x]]></A><D><A><![CDATA[1]]></A><B><![CDATA[2]]></B></D><D><A><![CDATA[3]]></A></D><Z><![CDATA[1]]></Z>"
    )


@pytest.mark.parametrize(
    ("xml", "line", "column"),
    [("<T><A>1</T>", 1, 12), ("<T>\n<A>\n</B></T>", 3, 5), ("<T>&nbsp;</T>", 1, 10), ("<", 1, 2), ("<T/><T/>", 1, 5)],
)
def test_broken_xml_is_refused_with_line_and_column(xml: str, line: int, column: int) -> None:
    with pytest.raises(TemplateError, match=rf"^Cannot parse template at line {line}, column {column}: .+\.$"):
        parse_xml(xml)


@pytest.mark.parametrize(
    "doctype",
    [
        "<!DOCTYPE T>",
        '<!DOCTYPE T [<!ENTITY a "x">]>',
        '<!DOCTYPE T [<!ENTITY a SYSTEM "file:///etc/hostname">]>',
        '<!DOCTYPE T SYSTEM "http://127.0.0.1:1/x.dtd">',
        '<!DOCTYPE T [<!ENTITY % p SYSTEM "file:///etc/hostname"> %p;]>',
    ],
)
def test_a_document_type_is_refused_and_nothing_is_fetched(doctype: str) -> None:
    reference = "&a;" if "ENTITY a" in doctype else "x"
    with pytest.raises(TemplateError, match="document types are not allowed"):
        parse_xml(f"{doctype}<T><A>{reference}</A></T>")


def test_entities_that_multiply_are_refused_before_they_do() -> None:
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 30))
    with pytest.raises(TemplateError):
        parse_xml(f'<!DOCTYPE T [<!ENTITY e0 "0123456789">{levels}]><T><A>&e29;</A></T>')


def test_a_tree_that_is_too_deep_is_refused() -> None:
    with pytest.raises(TemplateError, match="line 1"):
        parse_xml("<A>" * 5000 + "</A>" * 5000)
