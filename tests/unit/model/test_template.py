"""The template as a value: reading, replacing, merging; numbers and flags."""

import pytest

from holdfast.model.errors import TemplateError
from holdfast.model.template import EMPTY, Section, Template

TWO_DISKS = Template(
    [("cpu", "0.5"), ("DISK", {"image_id": "1"}), ("MEMORY", "128"), ("DISK", {"IMAGE_ID": "2"}), ("CPU", "9")]
)


def test_names_are_upper_case_whatever_was_given() -> None:
    assert TWO_DISKS.names() == {"CPU", "DISK", "MEMORY"}
    assert TWO_DISKS.section("DISK") == {"IMAGE_ID": "1"}


def test_the_first_of_several_values_is_the_value() -> None:
    assert TWO_DISKS.get("CPU") == "0.5"
    assert TWO_DISKS.singles() == {"CPU": "0.5", "MEMORY": "128"}


def test_all_vector_values_of_a_name_keep_their_order() -> None:
    assert [disk["IMAGE_ID"] for disk in TWO_DISKS.sections("DISK")] == ["1", "2"]


def test_a_vector_is_no_single_value_and_a_single_value_is_no_vector() -> None:
    assert TWO_DISKS.get("DISK", "none") == "none"
    assert TWO_DISKS.section("CPU") == {}
    assert TWO_DISKS.sections("MEMORY") == ()


def test_with_values_puts_one_value_where_the_first_stood() -> None:
    changed = TWO_DISKS.with_values(CPU="2", NEW="x")
    assert [name for name, _ in changed] == ["CPU", "DISK", "MEMORY", "DISK", "NEW"]
    assert changed.get("CPU") == "2"


def test_replaced_takes_names_that_are_no_identifiers() -> None:
    assert Template([("a-b", "1")]).replaced({"a-b": "2"}).get("A-B") == "2"


def test_merged_replaces_every_attribute_of_a_name_that_the_other_has() -> None:
    merged = TWO_DISKS.merged(Template([("DISK", {"IMAGE_ID": "7"})]))
    assert [disk["IMAGE_ID"] for disk in merged.sections("DISK")] == ["7"]
    assert merged.get("MEMORY") == "128"


def test_with_sections_leaves_no_old_one() -> None:
    assert TWO_DISKS.with_sections("DISK", [{"a": "b"}]).sections("DISK") == (Section(A="b"),)
    assert "DISK" not in TWO_DISKS.with_sections("DISK", [])


def test_no_change_touches_the_original() -> None:
    before = TWO_DISKS.pairs
    TWO_DISKS.with_values(CPU="2")
    TWO_DISKS.without("cpu")
    TWO_DISKS.merged(Template([("MEMORY", "1")]))
    assert TWO_DISKS.pairs == before


def test_equal_content_is_an_equal_value_with_an_equal_hash() -> None:
    again = Template(list(TWO_DISKS))
    assert again == TWO_DISKS
    assert hash(again) == hash(TWO_DISKS)
    assert again != TWO_DISKS.without("CPU")
    assert Template() == EMPTY
    assert len(EMPTY) == 0


def test_numbers_are_read_and_a_missing_one_is_the_default() -> None:
    assert TWO_DISKS.get_float("CPU", 1) == 0.5
    assert TWO_DISKS.get_int("MEMORY", 0) == 128
    assert TWO_DISKS.get_int("VCPU", 3) == 3


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999", "half", "0x10", "1,5"])
def test_what_is_no_finite_number_is_refused_with_name_and_value(text: str) -> None:
    with pytest.raises(TemplateError, match=f'Attribute CPU must be a number, it is "{text}"'):
        Template([("CPU", text)]).get_float("CPU", 1)


@pytest.mark.parametrize("text", ["1.5", "two", "²", "9" * 5000])
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    with pytest.raises(TemplateError, match="Attribute MEMORY must be a whole number"):
        Template([("MEMORY", text)]).get_int("MEMORY", 1)


@pytest.mark.parametrize(("text", "expected"), [("YES", True), ("yes", True), ("no", False), ("1", False), ("", True)])
def test_a_flag_is_yes_in_any_case_and_its_default_when_empty(text: str, expected: bool) -> None:
    assert Template([("F", text)]).flag("F", default=True) is expected
