"""Secrets are hidden on the way out and put back on the way in."""

from __future__ import annotations

import pytest

from holdfast.api.masking import MASK, masked, restored
from holdfast.model.errors import ArgumentError
from holdfast.model.template import Template
from holdfast.model.template_text import parse_text, write_text

STORED = Template(
    [
        ("HYPERVISOR", "kvm"),
        ("BMC_PASSWORD", "old"),
        ("FENCE", {"AGENT": "fence_ipmilan", "LEVEL": "1", "PASSWORD": "first"}),
        ("FENCE", {"AGENT": "fence_apc", "LEVEL": "2", "PASSWD": "second"}),
    ]
)


def test_single_and_vector_secrets_are_masked_and_nothing_else() -> None:
    shown = masked(STORED)
    assert shown.get("BMC_PASSWORD") == MASK
    assert [section.get("PASSWORD", section.get("PASSWD")) for section in shown.sections("FENCE")] == [MASK, MASK]
    assert shown.get("HYPERVISOR") == "kvm"
    assert shown.section("FENCE")["AGENT"] == "fence_ipmilan"


def test_a_template_without_secrets_is_left_alone() -> None:
    plain = Template([("PASSWORD_HINT", "none"), ("A", {"B": "c"})])
    assert masked(plain) is plain


def test_writing_back_what_was_read_changes_nothing() -> None:
    assert parse_text(restored(write_text(masked(STORED)), STORED)) == STORED


def test_masks_follow_their_section_when_the_order_changes_and_new_secrets_are_kept() -> None:
    edited = """
        FENCE = [ AGENT = "fence_apc", LEVEL = "2", PASSWD = "********" ]
        FENCE = [ AGENT = "fence_ipmilan", LEVEL = "1", PASSWORD = "new" ]
    """
    sections = parse_text(restored(edited, STORED)).sections("FENCE")
    assert sections[0]["PASSWD"] == "second"
    assert sections[1]["PASSWORD"] == "new"


def test_a_mask_in_an_edited_section_takes_the_secret_of_the_section_in_its_place() -> None:
    edited = 'FENCE = [ AGENT = "fence_ipmilan", LEVEL = "5", PASSWORD = "********" ]'
    assert parse_text(restored(edited, STORED)).section("FENCE")["PASSWORD"] == "first"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('OTHER_PASSWORD = "********"', "OTHER_PASSWORD"),
        ('DEVICE = [ PASSWORD = "********" ]', "DEVICE/PASSWORD"),
    ],
)
def test_a_mask_with_nothing_behind_it_is_refused_by_name(text: str, name: str) -> None:
    with pytest.raises(ArgumentError, match=name):
        restored(text, STORED)


def test_text_without_a_mask_and_text_that_cannot_be_read_are_passed_on_as_they_are() -> None:
    assert restored("A = [ B", STORED) == "A = [ B"
    assert restored('A = [ PASSWORD = "********"', STORED) == 'A = [ PASSWORD = "********"'


def test_asterisks_in_an_ordinary_attribute_mean_themselves() -> None:
    assert parse_text(restored('NOTE = "********"', STORED)).get("NOTE") == MASK


def test_masks_in_a_template_sent_as_xml_are_restored_too() -> None:
    sent = f"<TEMPLATE><BMC_PASSWORD>{MASK}</BMC_PASSWORD></TEMPLATE>"
    assert parse_text(restored(sent, STORED)).get("BMC_PASSWORD") == "old"
