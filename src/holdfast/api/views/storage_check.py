"""The report of a check of all storage as XML: a root element of our own, STORAGE_CHECK."""

from __future__ import annotations

import os
import re

from holdfast.api.views.markup import ids, text
from holdfast.engine.storage_audit import Finding, StorageReport, Unseen
from holdfast.engine.storage_looks import Place

_UNSHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\\]")


def storage_check(report: StorageReport) -> str:
    """FINDING elements, UNSEEN ones for directories that nobody could look at, and VMs that were left out (BUSY)."""
    findings = "".join(map(_finding, report.findings))
    unseen = "".join(map(_unseen, report.unseen))
    return (
        f"<STORAGE_CHECK><PLACES>{report.places}</PLACES><FINDINGS>{findings}</FINDINGS>"
        f"<UNSEEN_PLACES>{unseen}</UNSEEN_PLACES>{ids('BUSY', report.busy_vms)}</STORAGE_CHECK>"
    )


def _finding(finding: Finding) -> str:
    return (
        f"<FINDING><KIND>{finding.kind.value}</KIND>{_place(finding.place)}"
        f"<PATH>{text(finding.place.path)}/{text(_spelled(finding.path))}</PATH><SIZE_BYTES>{finding.size_bytes}</SIZE_BYTES>"
        f"<VM_ID>{finding.vm_id}</VM_ID><IMAGE_ID>{finding.image_id}</IMAGE_ID><REASON>{text(finding.reason)}</REASON>"
        f"</FINDING>"
    )


def _unseen(unseen: Unseen) -> str:
    return (
        f"<UNSEEN>{_place(unseen.place)}<PATH>{text(unseen.place.path)}</PATH><REASON>{text(unseen.reason)}</REASON>"
        f"</UNSEEN>"
    )


def _spelled(name: str) -> str:
    r"""The name, and no other file's: a byte that XML or a terminal cannot show is ``\x07``, a backslash ``\x5c``."""
    return _UNSHOWN.sub(lambda found: "".join(f"\\x{byte:02x}" for byte in _bytes(found.group())), name)


def _bytes(character: str) -> bytes:
    """What it is on disk; a byte that is no text there is a lone surrogate here."""
    try:
        return os.fsencode(character)
    except UnicodeEncodeError:  # a host says what it likes
        return character.encode("utf-8", "surrogatepass")


def _place(place: Place) -> str:
    return f"<DATASTORE_ID>{place.ds_id}</DATASTORE_ID><HOST>{text(place.host)}</HOST>"
