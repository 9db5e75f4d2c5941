"""What counts as proof of death, and what a BLOCKED failover tells the operator."""

from __future__ import annotations

from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind, ProofKind
from holdfast.model.failover import Failover, Proof
from holdfast.model.host import Host

RAW_LIMIT = 8192
_DEVICE_LIMIT_S = 30.0
_TURN_S = 65.0


def from_device(oid: int, failover: Failover, kind: EffectKind, answer: Answer, at: float) -> Proof:
    """Proof by the fence device: the power was found off twice, or was switched off and read back."""
    fenced = kind is EffectKind.FENCE_OFF
    return Proof(
        oid,
        failover.host_id,
        ProofKind.FENCED if fenced else ProofKind.POWER_OFF,
        at,
        "fence device",
        answer.message,
        answer.values.get("RAW", "")[:RAW_LIMIT],
        failover.boot_id,
        failover.oid,
    )


def from_reboot(oid: int, failover: Failover, new_boot_id: str, at: float) -> Proof:
    """Proof by a new boot: an authenticated agent reports another boot id, and none of the old domains."""
    text = f"the host has rebooted: boot id {new_boot_id}, it was {failover.boot_id}"
    return Proof(oid, failover.host_id, ProofKind.REBOOTED, at, "agent", text, "", failover.boot_id, failover.oid)


def from_operator(oid: int, failover: Failover, name: str, comment: str, at: float) -> Proof:
    """The operator's word: named and dated."""
    text = f"{name} confirms that the host is off" + (f": {comment}" if comment else "")
    return Proof(oid, failover.host_id, ProofKind.OPERATOR, at, name, text, "", failover.boot_id, failover.oid)


def can_fence(failover: Failover, host: Host) -> str:
    """Empty when the host can be fenced, else why not."""
    if not failover.fencing:
        return "fencing is switched off by the hook (-u)"
    if "FENCE_AGENT" not in host.template and not host.template.sections("FENCE"):
        return f"host {host.name} has no fence device (no FENCE_AGENT in its template)"
    return ""


def fence_limit_s(host: Host) -> float:
    """How long an order to fence may take: each device's own limit, and its turn when others use it too."""
    devices = [host.template.get("FENCE_TIMEOUT")] if "FENCE_AGENT" in host.template else []
    devices += [section.get("TIMEOUT", "") for section in host.template.sections("FENCE")]
    return sum(_TURN_S + (float(limit) if limit.isdecimal() else _DEVICE_LIMIT_S) for limit in devices)


def ways_out(failover: Failover) -> str:
    """The commands that unblock a failover without proof."""
    return (
        f"Make sure that {failover.hostname} is off, then: onehost failover confirm {failover.oid}; "
        f"or mend its fence device, then: onehost failover retry {failover.oid}."
    )
