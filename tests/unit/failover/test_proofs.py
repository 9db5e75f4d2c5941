"""Proofs of death, and what hinders one."""

import pytest

from holdfast.failover import proofs
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind, HostState, ProofKind
from holdfast.model.host import Host
from holdfast.model.template_text import parse_text
from tests.unit.failover.subjects import a_failover

OFF = Answer(True, "power is off, read twice", values={"RAW": "Status: OFF\n" * 2000})


def host(text: str) -> Host:
    """Host 3 with this template."""
    return Host(3, "host3", HostState.ERROR, "kvm", "kvm", template=parse_text(text))


@pytest.mark.parametrize(
    ("kind", "proof_kind"), [(EffectKind.FENCE_OFF, ProofKind.FENCED), (EffectKind.FENCE_STATUS, ProofKind.POWER_OFF)]
)
def test_a_devices_answer_is_kept_with_its_raw_output_in_bounds(kind: EffectKind, proof_kind: ProofKind) -> None:
    proof = proofs.from_device(9, a_failover(), kind, OFF, 1234.5)
    assert (proof.oid, proof.kind, proof.host_id, proof.failover_id, proof.boot_id) == (9, proof_kind, 3, 5, "boot-1")
    assert (proof.at, proof.text) == (1234.5, "power is off, read twice")
    assert proof.raw.startswith("Status: OFF")
    assert len(proof.raw) == proofs.RAW_LIMIT


def test_a_reboot_names_both_boots() -> None:
    proof = proofs.from_reboot(9, a_failover(), "boot-2", 1234.5)
    assert proof.kind is ProofKind.REBOOTED
    assert "boot-2" in proof.text
    assert "boot-1" in proof.text


@pytest.mark.parametrize(("comment", "ends"), [("", "is off"), ("pulled the plug", "is off: pulled the plug")])
def test_the_operators_word_is_named_and_dated(comment: str, ends: str) -> None:
    proof = proofs.from_operator(9, a_failover(), "ann", comment, 1234.5)
    assert (proof.kind, proof.by, proof.at) == (ProofKind.OPERATOR, "ann", 1234.5)
    assert proof.text.startswith("ann confirms")
    assert proof.text.endswith(ends)


@pytest.mark.parametrize(
    ("text", "fencing", "hindrance"),
    [
        ("FENCE_AGENT=fence_ipmilan", True, ""),
        ("FENCE=[AGENT=fence_ipmilan]", True, ""),
        ("", True, "no fence device"),
        ("FENCE_AGENT=fence_ipmilan", False, "switched off by the hook (-u)"),
    ],
)
def test_what_hinders_fencing_is_said(text: str, fencing: bool, hindrance: str) -> None:
    said = proofs.can_fence(a_failover(fencing=fencing), host(text))
    assert hindrance in said
    assert bool(said) is bool(hindrance)


@pytest.mark.parametrize(
    ("text", "devices_s"),
    [
        ("FENCE_AGENT=a", [30]),
        ("FENCE_AGENT=a\nFENCE_TIMEOUT=7", [7]),
        ("FENCE_AGENT=a\nFENCE_TIMEOUT=soon", [30]),
        ("FENCE_AGENT=a\nFENCE_TIMEOUT=²", [30]),
        ("FENCE=[TIMEOUT=5]\nFENCE=[AGENT=b]", [5, 30]),
    ],
)
def test_an_order_to_fence_has_time_for_each_device_and_its_turn(text: str, devices_s: list[int]) -> None:
    assert proofs.fence_limit_s(host(text)) == sum(limit + 65 for limit in devices_s)


def test_the_ways_out_of_a_block_are_commands() -> None:
    said = proofs.ways_out(a_failover())
    assert "host3" in said
    assert "onehost failover confirm 5" in said
    assert "onehost failover retry 5" in said
