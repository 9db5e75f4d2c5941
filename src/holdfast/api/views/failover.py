"""Failovers as XML: a root element of our own, FAILOVER, in the style of the others.  Times have three decimals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from holdfast.api.views.markup import text
from holdfast.model.failover import Evidence, Failover, Proof, Row, Step
from holdfast.model.host import Host
from holdfast.model.template_xml import cdata


def full(failover: Failover, proofs: Iterable[Proof], hosts: Mapping[int, Host]) -> str:
    """The failover with everything that explains it."""
    return (
        f"<FAILOVER><ID>{failover.oid}</ID><HID>{failover.host_id}</HID><HOSTNAME>{text(failover.hostname)}</HOSTNAME>"
        f"<STATE>{failover.state:d}</STATE><STATE_STR>{failover.state.name}</STATE_STR>"
        f"<MODE>{failover.mode.value}</MODE><FORCE>{_yes(failover.force)}</FORCE><PAUSE>{failover.pause}</PAUSE>"
        f"<FENCING>{_yes(failover.fencing)}</FENCING><REQUESTED_BY>{cdata(failover.requested_by)}</REQUESTED_BY>"
        f"<STIME>{failover.stime:.3f}</STIME><ETIME>{failover.etime:.3f}</ETIME>"
        f"<DEADLINE>{failover.deadline:.3f}</DEADLINE><REASON>{cdata(failover.reason)}</REASON>"
        f"<EVIDENCES>{''.join(map(_evidence, failover.evidence))}</EVIDENCES>"
        f"<PROOFS>{''.join(map(_proof, proofs))}</PROOFS><STEPS>{''.join(map(_step, failover.steps))}</STEPS>"
        f"<VMS>{''.join(_row(row, failover, hosts) for row in failover.rows)}</VMS></FAILOVER>"
    )


def proofs_of(failover: Failover, proofs: Iterable[Proof]) -> list[Proof]:
    """The proofs that this failover found or relies on, oldest first."""
    found = (proof for proof in proofs if proof.failover_id == failover.oid or proof.oid == failover.proof_id)
    return sorted(found, key=lambda proof: proof.oid)


def _yes(flag: bool) -> str:
    return "YES" if flag else "NO"


def _evidence(evidence: Evidence) -> str:
    return (
        f"<EVIDENCE><SOURCE>{cdata(evidence.source)}</SOURCE><TIME>{evidence.at:.3f}</TIME>"
        f"<VERDICT>{text(evidence.verdict)}</VERDICT><TEXT>{cdata(evidence.text)}</TEXT></EVIDENCE>"
    )


def _proof(proof: Proof) -> str:
    return (
        f"<PROOF><ID>{proof.oid}</ID><KIND>{proof.kind.value}</KIND><TIME>{proof.at:.3f}</TIME>"
        f"<BY>{cdata(proof.by)}</BY><TEXT>{cdata(proof.text)}</TEXT><RAW>{cdata(proof.raw)}</RAW></PROOF>"
    )


def _step(step: Step) -> str:
    return f"<STEP><TIME>{step.at:.3f}</TIME><STATE>{step.state.name}</STATE><TEXT>{cdata(step.text)}</TEXT></STEP>"


def _row(row: Row, failover: Failover, hosts: Mapping[int, Host]) -> str:
    return (
        f"<VM><ID>{row.vm_id}</ID><NAME>{text(row.name)}</NAME><STATE>{row.state.value}</STATE>"
        f"<FROM>{text(_host_name(row.from_hid, failover, hosts))}</FROM>"
        f"<TO>{text(_host_name(row.to_hid, failover, hosts))}</TO>"
        f"<FROM_HID>{row.from_hid}</FROM_HID><TO_HID>{row.to_hid}</TO_HID><PROOF_ID>{row.proof_id}</PROOF_ID>"
        f"<PLACED>{row.placed_at:.3f}</PLACED><STARTED>{row.started_at:.3f}</STARTED>"
        f"<RUNNING>{row.running_at:.3f}</RUNNING><ATTEMPTS>{row.attempts}</ATTEMPTS>"
        f"<REASON>{cdata(row.reason)}</REASON></VM>"
    )


def _host_name(hid: int, failover: Failover, hosts: Mapping[int, Host]) -> str:
    if hid in hosts:
        return hosts[hid].name
    return failover.hostname if hid == failover.host_id else ""
