"""``one.storage.check``: the report as XML, for administrators."""

from __future__ import annotations

import asyncio

import pytest
from lxml import etree

from holdfast.api.responder import Responder
from holdfast.api.views.storage_check import storage_check
from holdfast.engine.storage_audit import Finding, FindingKind, StorageReport, Unseen
from holdfast.engine.storage_looks import FRONTEND, Place
from tests.unit.api.world import ADMIN_SESSION, GUEST_SESSION, call_body, installation, reply_values

HERE, THERE = Place(0, FRONTEND, "/ds/0"), Place(100, "host1", "/ds/100")


def test_the_report_names_findings_what_was_not_seen_and_what_is_under_way() -> None:
    controller = installation()
    controller.storage.found = StorageReport(
        (Finding(FindingKind.ORPHAN, HERE, "9/a&b", "there is no such VM", 4096, vm_id=9),),
        (Unseen(THERE, "the host is lost"),),
        places=3,
        busy_vms=(7, 5),
    )
    body = call_body("one.storage.check", ADMIN_SESSION)
    _, document, _ = reply_values(b"".join(asyncio.run(Responder(controller).reply(body))))
    report = etree.fromstring(document)
    [finding], [unseen] = report.findall("FINDINGS/FINDING"), report.findall("UNSEEN_PLACES/UNSEEN")
    assert {child.tag: child.text or "" for child in finding} == {
        "KIND": "ORPHAN",
        "DATASTORE_ID": "0",
        "HOST": "",
        "PATH": "/ds/0/9/a&b",
        "SIZE_BYTES": "4096",
        "VM_ID": "9",
        "IMAGE_ID": "-1",
        "REASON": "there is no such VM",
    }
    assert (unseen.findtext("HOST"), unseen.findtext("REASON")) == ("host1", "the host is lost")
    assert (report.findtext("PLACES"), [busy.text for busy in report.findall("BUSY/ID")]) == ("3", ["5", "7"])


@pytest.mark.parametrize(
    ("name", "shown"),
    [("\udcff\udcfe", r"\xff\xfe"), ("c\x01d", r"c\x01d"), ("a\nb\\", r"a\x0ab\x5c"), ("é\ud800", r"é\xed\xa0\x80")],
)
def test_a_name_that_cannot_be_shown_is_spelled_and_never_shortened(name: str, shown: str) -> None:
    finding = Finding(FindingKind.ORPHAN, HERE, name, "it is no VM's directory")
    report = etree.fromstring(storage_check(StorageReport((finding,))))
    assert report.findtext("FINDINGS/FINDING/PATH") == f"/ds/0/{shown}"


def test_only_administrators_may_look() -> None:
    body = call_body("one.storage.check", GUEST_SESSION)
    values = reply_values(b"".join(asyncio.run(Responder(installation()).reply(body))))
    assert (values[0], values[2]) == ("0", "512")
