"""The wire format: what was sealed comes back, and nothing else gets through or breaks the reader."""

import hashlib
import hmac
import json
import struct
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.model.beacon import (
    MAX_DATAGRAM,
    MAX_HEARTBEAT,
    VM_STATES,
    Ack,
    Beacon,
    BeaconBody,
    BeaconRefused,
    Heartbeat,
    Refusal,
    host_key,
    seal,
    seal_ack,
    seal_heartbeat,
    unseal,
    unseal_ack,
    unseal_heartbeat,
)

MASTER = b"the controller's master key"
KEY = host_key(MASTER, 7)
BODY = BeaconBody("5b1d-c9", "ab" * 16, 1_700_000_000.5, ((1, "RUNNING"), (42, "PAUSED")), "up", {"TOTALCPU": "800"})
BEAT = Heartbeat(7, "5b1d-c9", 1_700_000_000_123, 1_700_000_000.5, ((1, "RUNNING"),))

bodies = st.builds(
    BeaconBody,
    boot_id=st.from_regex(r"[A-Za-z0-9-]{1,64}", fullmatch=True),
    nonce=st.binary(max_size=32).map(bytes.hex),
    sent_at=st.floats(allow_nan=False, allow_infinity=False),
    vms=st.lists(st.tuples(st.integers(0, 2**31 - 1), st.sampled_from(sorted(VM_STATES))), max_size=200).map(tuple),
    hypervisor=st.sampled_from(["up", "down", "unknown"]),
    system=st.none()
    | st.dictionaries(
        st.from_regex(r"[A-Z_]{1,9}", fullmatch=True).filter(lambda n: n[0] != "_"),
        st.text(st.characters(categories=["L", "N"]), max_size=40),
    ),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["RUNNING", "up"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
field_names = st.sampled_from(["boot_id", "nonce", "sent_at", "vms", "hypervisor", "system", "seq", "at", "host_id"])


def key_of(host_id: int) -> bytes | None:
    return host_key(MASTER, host_id) if host_id < 1000 else None


def refusal(datagram: bytes) -> Refusal:
    with pytest.raises(BeaconRefused) as caught:
        unseal(datagram, key_of)
    return caught.value.reason


def signed(payload: bytes, *, version: int = 1, kind: int = 1, flags: int = 0, length: int | None = None) -> bytes:
    """A datagram by the letter of the format, with any payload."""
    said = len(payload) if length is None else length
    message = struct.pack("!3sBBBBxIQI", b"HFB", version, kind, flags, 0, 7, 1, said) + payload
    return message + hmac.new(KEY, message, hashlib.sha256).digest()


def payload_with(**changes: object) -> bytes:
    fields = {"boot_id": "b", "nonce": "", "sent_at": 1.0, "vms": [[1, "RUNNING"]], "hypervisor": "up"}
    return json.dumps(fields | changes).encode()


@given(bodies, st.integers(0, 999), st.integers(0, 2**64 - 1), st.integers(0, 255))
def test_what_was_sealed_comes_back(body: BeaconBody, host_id: int, seq: int, path: int) -> None:
    datagram = seal(host_key(MASTER, host_id), host_id, seq, body, path)
    assert unseal(datagram, key_of) == Beacon(host_id, seq, path, body)


def test_a_host_with_a_thousand_vms_fits_and_fifteen_thousand_are_refused_by_the_sender() -> None:
    vms = tuple((1_000_000 + 7919 * number, "RUNNING") for number in range(1_000))
    datagram = seal(KEY, 7, 1, replace(BODY, vms=vms))
    assert len(datagram) <= MAX_DATAGRAM
    assert unseal(datagram, key_of).body.vms == vms
    with pytest.raises(ValueError, match="15000 VMs"):
        seal(KEY, 7, 1, replace(BODY, vms=vms * 15))


def test_every_changed_bit_is_noticed() -> None:
    datagram = seal(KEY, 7, 1, BODY)
    for position in range(8 * len(datagram)):
        changed = bytearray(datagram)
        changed[position // 8] ^= 1 << position % 8
        with pytest.raises(BeaconRefused):
            unseal(bytes(changed), key_of)


def test_each_refusal_has_its_reason() -> None:
    datagram = seal(KEY, 7, 1, BODY)
    assert refusal(b"") == Refusal.TRUNCATED
    assert refusal(datagram[:-1]) == Refusal.TRUNCATED
    assert refusal(datagram + b"x") == Refusal.MALFORMED
    assert refusal(bytes(MAX_DATAGRAM + 1)) == Refusal.TOO_LARGE
    assert refusal(b"GET / HTTP/1.1\r\n" * 9) == Refusal.MALFORMED
    assert refusal(signed(payload_with(), version=2)) == Refusal.VERSION
    assert refusal(seal(host_key(MASTER, 1000), 1000, 1, BODY)) == Refusal.UNKNOWN_HOST
    assert refusal(seal(host_key(MASTER, 8), 7, 1, BODY)) == Refusal.BAD_SIGNATURE
    assert refusal(seal_ack(KEY, Ack(7, 1, 0, "ab", 0))) == Refusal.MALFORMED


def test_the_handmade_datagram_is_accepted_so_the_refusals_below_mean_something() -> None:
    assert unseal(signed(payload_with()), key_of).body.vms == ((1, "RUNNING"),)


@pytest.mark.parametrize(
    "changes",
    [
        {"boot_id": ""}, {"boot_id": "a b"}, {"boot_id": 5}, {"boot_id": "x" * 65}, {"nonce": "xyz"}, {"nonce": "a"},
        {"nonce": "ab" * 33}, {"nonce": None}, {"sent_at": "1"}, {"sent_at": True}, {"sent_at": float("nan")},
        {"sent_at": 10**400}, {"vms": None}, {"vms": [[1]]}, {"vms": [[1, "DEAD"]]}, {"vms": [["1", "RUNNING"]]},
        {"vms": [[-1, "RUNNING"]]}, {"vms": [[2**31, "RUNNING"]]}, {"vms": [[True, "RUNNING"]]},
        {"vms": [[1, ["RUNNING"]]]}, {"hypervisor": "maybe"}, {"hypervisor": []}, {"system": None}, {"system": []},
        {"system": {"lower": "1"}}, {"system": {"A": 1}}, {"system": {"A": "x" * 257}}, {"system": {"A": "\n"}},
    ],
    ids=str,
)  # fmt: skip
def test_a_signed_body_with_a_wrong_value_is_malformed(changes: dict[str, object]) -> None:
    assert refusal(signed(payload_with(**changes))) == Refusal.MALFORMED


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"null", b"{}", b"[" * 50_000, b'{"a":' * 9_000, b"\xff", b"1" * 5_000]
)
def test_a_signed_body_that_is_no_beacon_is_malformed(payload: bytes) -> None:
    assert refusal(signed(payload)) == Refusal.MALFORMED


def test_a_body_that_unfolds_without_end_is_refused_before_it_fills_memory() -> None:
    assert refusal(signed(zlib.compress(bytes(30_000_000), 9), flags=1)) == Refusal.TOO_LARGE
    assert refusal(signed(b"not zlib", flags=1)) == Refusal.MALFORMED
    assert refusal(signed(zlib.compress(payload_with())[:-3], flags=1)) == Refusal.MALFORMED
    assert refusal(signed(zlib.compress(payload_with()) + b"more", flags=1)) == Refusal.MALFORMED


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_and_raise_nothing_else(datagram: bytes) -> None:
    with pytest.raises(BeaconRefused):
        unseal(datagram, key_of)
    with pytest.raises(BeaconRefused):
        unseal(b"HFB\1\1" + datagram, key_of)
    with pytest.raises(BeaconRefused):
        unseal_ack(datagram, KEY, 7)
    with pytest.raises(BeaconRefused):
        unseal_heartbeat(datagram, KEY, 7)


@given(st.binary(max_size=300), st.integers(0, 255), st.sampled_from([1, 2]))
def test_any_signed_bytes_raise_nothing_but_a_refusal(payload: bytes, flags: int, kind: int) -> None:
    opened: object = None
    try:
        datagram = signed(payload, flags=flags, kind=kind)
        opened = unseal(datagram, key_of) if kind == 1 else unseal_ack(datagram, KEY, 7)
    except BeaconRefused as refused:
        opened = refused.reason
    assert isinstance(opened, Beacon | Ack | Refusal)


@given(st.dictionaries(field_names, json_values))
def test_any_signed_json_raises_nothing_but_a_refusal(changes: dict[str, object]) -> None:
    text = payload_with(**changes)
    beat = b"%s\n%s\n" % (text, hmac.new(KEY, b"holdfast heartbeat 1\n" + text, hashlib.sha256).hexdigest().encode())
    for attempt in (lambda: unseal(signed(text), key_of), lambda: unseal_heartbeat(beat, KEY, 7)):
        try:
            opened: object = attempt()
        except BeaconRefused as refused:
            opened = refused.reason
        assert isinstance(opened, Beacon | Heartbeat | Refusal)


def test_an_ack_comes_back_and_only_to_the_host_it_was_sealed_for() -> None:
    ack = Ack(7, 2**63, 3, "0f" * 16, 12)
    assert unseal_ack(seal_ack(KEY, ack), KEY, 7) == ack
    with pytest.raises(BeaconRefused, match="unknown host"):
        unseal_ack(seal_ack(KEY, ack), KEY, 8)
    with pytest.raises(BeaconRefused, match="bad signature"):
        unseal_ack(seal_ack(KEY, ack), host_key(MASTER, 8), 7)
    with pytest.raises(BeaconRefused, match="malformed"):
        unseal_ack(seal(KEY, 7, 1, BODY), KEY, 7)


def test_a_heartbeat_comes_back_and_no_other_host_can_have_written_it() -> None:
    content = seal_heartbeat(KEY, BEAT)
    assert unseal_heartbeat(content, KEY, 7) == BEAT
    assert json.loads(content.split(b"\n")[0])["seq"] == BEAT.seq
    for wrong, reason in [
        (seal_heartbeat(host_key(MASTER, 8), BEAT), "bad signature"),
        (seal_heartbeat(KEY, replace(BEAT, host_id=8)), "malformed"),
        (seal_heartbeat(KEY, replace(BEAT, seq=-1)), "malformed"),
        (content[:-1], "truncated"),
        (content.replace(b"RUNNING", b"PAUSED"), "bad signature"),
        (content + bytes(MAX_HEARTBEAT), "too large"),
    ]:
        with pytest.raises(BeaconRefused, match=reason):
            unseal_heartbeat(wrong, KEY, 7)


def test_each_host_has_another_key() -> None:
    assert len({host_key(MASTER, host_id) for host_id in range(100)} | {host_key(b"other master", 0)}) == 101
