"""The columns of ``onehost failover list`` and the screen of ``onehost failover show``.

The screen answers, in this order: how far is it, what is needed from me, how do we know that the host is dead, where
is each VM, what happened when.  Times within it are seconds since the loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from holdfast.cli.screen import labels, paragraph, print_screen, section, small_table
from holdfast.cli.table import Column, Table, View
from holdfast.cli.units import duration_text, time_text
from holdfast.cli.xmltree import number_of, text_of
from holdfast.model.enums import FailoverState

_LABEL = 18
_MOMENT = 7
_WORD = 10
_UNDER = " " * (_MOMENT + 2)
_FINISHED_ROW = "RUNNING"
_STATE_NUMBERS = {str(int(state)) for state in FailoverState}


def _took(failover: Element, view: View) -> str:
    end_s = number_of(failover, "ETIME") or view.now_s
    return duration_text(end_s - number_of(failover, "STIME"))


def _progress(failover: Element, view: View) -> str:
    vms = failover.findall("VMS/VM")
    return f"{sum(text_of(vm, 'STATE') == _FINISHED_ROW for vm in vms)}/{len(vms)}"


FAILOVER_TABLE = Table(
    columns=(
        Column("ID", 4, lambda failover, view: text_of(failover, "ID"), "identifier", adjust=True),
        Column(
            "HOST",
            12,
            lambda failover, view: text_of(failover, "HOSTNAME"),
            "host that was lost",
            left=True,
            expand=True,
        ),
        Column("STATE", 10, lambda failover, view: text_of(failover, "STATE_STR"), "how far it is", left=True),
        Column("VMS", 6, _progress, "VMs that run again, of all"),
        Column("STARTED", 14, lambda failover, view: time_text(number_of(failover, "STIME")), "when it began"),
        Column("TOOK", 7, _took, "how long it took, or has taken so far"),
        Column(
            "REASON",
            21,
            lambda failover, view: text_of(failover, "REASON"),
            "why it is blocked or was aborted",
            left=True,
            expand=True,
            share=2.0,
        ),
    ),
    default=("ID", "HOST", "STATE", "VMS", "STARTED", "TOOK", "REASON"),
)


def print_failover(failover: Element, now_s: float) -> None:
    """Prints everything about a failover."""
    lost_s = number_of(failover, "STIME")
    print_screen(
        _information(failover, now_s),
        _way_out(failover),
        _evidence(failover, lost_s),
        _proofs(failover, lost_s),
        _vms(failover, lost_s),
        _timeline(failover, lost_s),
    )


def _information(failover: Element, now_s: float) -> list[str]:
    pairs = [
        ("ID", text_of(failover, "ID")),
        ("HOST", f"{text_of(failover, 'HOSTNAME')} ({text_of(failover, 'HID')})"),
        ("STATE", text_of(failover, "STATE_STR")),
        ("MODE", text_of(failover, "MODE")),
        ("FENCING", text_of(failover, "FENCING")),
        ("FORCE", text_of(failover, "FORCE")),
        ("PAUSE", text_of(failover, "PAUSE", "0")),
        ("REQUESTED BY", text_of(failover, "REQUESTED_BY", "-")),
        ("STARTED", time_text(number_of(failover, "STIME"))),
        ("ENDED", time_text(number_of(failover, "ETIME"))),
        ("TOOK", _took(failover, View(now_s))),
        ("VMS RUNNING", _progress(failover, View())),
    ]
    lines = [*section(f"FAILOVER {text_of(failover, 'ID')} INFORMATION"), *labels(pairs, _LABEL)]
    if text_of(failover, "STATE_STR") == "ABORTED" and text_of(failover, "REASON"):
        lines += ["", *paragraph(f"Aborted: {text_of(failover, 'REASON')}")]
    return lines


def _way_out(failover: Element) -> list[str]:
    if text_of(failover, "STATE_STR") != "BLOCKED":
        return []
    name, failover_id = text_of(failover, "HOSTNAME"), text_of(failover, "ID")
    lines = [*section("BLOCKED: IT WAITS FOR YOU"), *paragraph(text_of(failover, "REASON", "No reason was given."))]
    if not failover.findall("PROOFS/PROOF"):
        lines += ["", f"When you have made certain that {name} is off:"]
        lines.append(f'  onehost failover confirm {failover_id} --comment "how you know"')
    lines += ["", "To have the last step tried again, once its cause is gone:"]
    lines.append(f"  onehost failover retry {failover_id}")
    lines += ["", "To give up and leave the remaining VMs as they are:"]
    lines.append(f"  onehost failover abort {failover_id}")
    return lines


def _evidence(failover: Element, lost_s: float) -> list[str]:
    items = failover.findall("EVIDENCES/EVIDENCE")
    lines = [
        line for item in items for line in _dated(item, lost_s, (text_of(item, "VERDICT"), text_of(item, "SOURCE")))
    ]
    return [*section("EVIDENCE"), *lines] if lines else []


def _proofs(failover: Element, lost_s: float) -> list[str]:
    lines: list[str] = []
    for proof in failover.findall("PROOFS/PROOF"):
        lines += _dated(proof, lost_s, (f"#{text_of(proof, 'ID')}", text_of(proof, "KIND")))
        lines += paragraph(f"by {text_of(proof, 'BY', '-')}", _UNDER)
        raw = text_of(proof, "RAW").strip()
        lines += [line for text in raw.splitlines() for line in paragraph(text, _UNDER + "| ")]
    return [*section("PROOF OF DEATH"), *lines] if lines else []


def _vms(failover: Element, lost_s: float) -> list[str]:
    vms = failover.findall("VMS/VM")
    if not vms:
        return [*section("VIRTUAL MACHINES"), "The host had no VMs."]
    lines = [*section("VIRTUAL MACHINES (seconds since the loss)"), *small_table(_vm_columns(lost_s), vms)]
    unfinished = [vm for vm in vms if text_of(vm, "REASON") and text_of(vm, "STATE") != _FINISHED_ROW]
    for vm in unfinished:
        lines += paragraph(f"VM {text_of(vm, 'ID')}: {text_of(vm, 'REASON')}", hanging="  ")
    return lines


def _vm_columns(lost_s: float) -> tuple[Column, ...]:
    def moment(path: str) -> Column:
        return Column(path, 7, lambda vm, view: _since(number_of(vm, path), lost_s))

    return (
        Column("ID", 4, lambda vm, view: text_of(vm, "ID"), adjust=True),
        Column("NAME", 12, lambda vm, view: text_of(vm, "NAME"), left=True),
        Column("STATE", 8, lambda vm, view: text_of(vm, "STATE"), left=True),
        Column("FROM", 9, lambda vm, view: text_of(vm, "FROM", "-"), left=True),
        Column("TO", 9, lambda vm, view: text_of(vm, "TO", "-"), left=True),
        moment("PLACED"),
        moment("STARTED"),
        moment("RUNNING"),
        Column("TRY", 3, lambda vm, view: text_of(vm, "ATTEMPTS", "0")),
        Column("PROOF", 5, lambda vm, view: _proof_number(vm)),
    )


def _proof_number(vm: Element) -> str:
    proof_id = text_of(vm, "PROOF_ID", "-1")
    return "-" if proof_id == "-1" else f"#{proof_id}"


def _timeline(failover: Element, lost_s: float) -> list[str]:
    steps = failover.findall("STEPS/STEP")
    lines = [line for step in steps for line in _dated(step, lost_s, (_state_name(text_of(step, "STATE")),))]
    return [*section("TIMELINE (seconds since the loss)"), *lines] if lines else []


def _state_name(text: str) -> str:
    return FailoverState(int(text)).name if text in _STATE_NUMBERS else text


def _dated(item: Element, lost_s: float, words: Sequence[str]) -> list[str]:
    """One line of a chronicle, its text continued under itself."""
    head = " ".join(f"{word:<{_WORD}}" for word in words)
    under = _UNDER + " " * ((_WORD + 1) * len(words))
    return paragraph(
        f"{_since(number_of(item, 'TIME'), lost_s):>{_MOMENT}}  {head} {text_of(item, 'TEXT')}", hanging=under
    )


def _since(moment_s: float, lost_s: float) -> str:
    # Adding 0.0 turns the -0.0 that rounding may leave into 0.0.
    return f"{round(moment_s - lost_s, 1) + 0.0:+.1f}" if moment_s > 0 else "-"
