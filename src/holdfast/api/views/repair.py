"""Repairs of failed transfers as XML: a root element of our own, REPAIR.  Times have three decimals.

The session of the holder is left out: it is the key to what he has begun.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.api.views.markup import text
from holdfast.model.repair import Repair, RepairRecord
from holdfast.model.template_xml import cdata


def full(repair: Repair) -> str:
    """The repair with its lines and records; POSITION counts from 1, after the last line it is one more."""
    running = repair.running if repair.effect_id >= 0 else None
    return (
        f"<REPAIR><VM_ID>{repair.oid}</VM_ID><LCM_STATE>{repair.lcm_state:d}</LCM_STATE>"
        f"<LCM_STATE_STR>{repair.lcm_state.name}</LCM_STATE_STR><FILE>{text(repair.file)}</FILE>{_holder(repair)}"
        f"<POSITION>{repair.position + 1}</POSITION><RUNNING>{running.number if running else 0}</RUNNING>"
        f"<NEXT_RECORD>{repair.next_record}</NEXT_RECORD><ENDED>{cdata(repair.ended)}</ENDED>"
        f"<LINES>{''.join(f'<LINE>{cdata(line)}</LINE>' for line in repair.lines)}</LINES>"
        f"<RECORDS>{''.join(map(_record, repair.records))}</RECORDS></REPAIR>"
    )


def _holder(repair: Repair) -> str:
    holder = repair.holder
    if not repair.is_held:
        return "<HOLDER></HOLDER>"
    return (
        f"<HOLDER><UID>{holder.uid}</UID><UNAME>{text(holder.user)}</UNAME><SEAT>{cdata(holder.seat)}</SEAT>"
        f"<SINCE>{holder.since:.3f}</SINCE></HOLDER>"
    )


def _record(record: RepairRecord) -> str:
    return (
        f"<RECORD><ID>{record.number}</ID><DEED>{record.deed.value}</DEED><TIME>{record.at:.3f}</TIME>"
        f"<ETIME>{record.ended_at:.3f}</ETIME><UNAME>{text(record.user)}</UNAME><SEAT>{cdata(record.seat)}</SEAT>"
        f"<FILE>{text(record.file)}</FILE><ACTION>{record.line}</ACTION><LINE>{cdata(record.text)}</LINE>"
        f"<RESULT>{record.result.value}</RESULT><OUTPUT>{cdata(record.output)}</OUTPUT></RECORD>"
    )


def output(record: RepairRecord, first: int, lines: Sequence[str]) -> str:
    """What a line says, from line ``first`` (counted from 0) on, and its result so far."""
    return (
        f"<OUTPUT><RECORD_ID>{record.number}</RECORD_ID><RESULT>{record.result.value}</RESULT><FIRST>{first}</FIRST>"
        f"<LINES>{''.join(f'<LINE>{cdata(line)}</LINE>' for line in lines)}</LINES></OUTPUT>"
    )
