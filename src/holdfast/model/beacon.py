"""What a host says about itself, sealed: beacons and acks on the wire, heartbeats in a file.

A datagram is a header (magic, version, kind, flags, path, host id, sequence number, body length), a body, and an
HMAC-SHA256 of both under the host's own key.  The kind is signed, so an ack can never pass for a beacon; the path
(the number of the network in the agent's list) is signed, so each network has its own replay window.  A heartbeat
is two lines of text: JSON, then its HMAC in hexadecimal.

Invariants: nothing of a message is looked at before its signature has been checked, except the header that says
whose key to use; whatever the bytes are, opening them returns a checked value or raises BeaconRefused and nothing
else.

Neighbours: the agent seals beacons and heartbeats, drivers/im opens them and seals acks.  No clock and no I/O here.
"""

import hashlib
import hmac
import json
import math
import re
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

MAX_DATAGRAM = 60_000
MAX_HEARTBEAT = 1 << 18
VM_STATES = frozenset({"RUNNING", "PAUSED", "UNKNOWN"})
HYPERVISOR_STATES = frozenset({"up", "down", "unknown"})

_MAGIC = b"HFB"
_VERSION = 1
_BEACON, _ACK = 1, 2
_COMPRESSED = 1
_HEADER = struct.Struct("!3sBBBBxIQI")  # magic, version, kind, flags, path, host id, sequence number, body length
_FLOOR = struct.Struct("!Q")
_TAG_BYTES = hashlib.sha256().digest_size
_OVERHEAD = _HEADER.size + _TAG_BYTES
_MAX_BODY = 1 << 18
_COMPRESS_ABOVE = 1_200  # larger datagrams would be split into IP fragments, and losing one loses all
_MAX_VM_ID = 2**31 - 1
_BOOT_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_NONCE = re.compile(r"(?:[0-9a-f]{2}){0,32}")
_ATTRIBUTE = re.compile(r"[A-Z][A-Z0-9_]{0,31}")
_HEARTBEAT_LABEL = b"holdfast heartbeat 1\n"

Vms = tuple[tuple[int, str], ...]


class Refusal(StrEnum):
    """Why a message was not accepted."""

    TRUNCATED = "truncated"
    TOO_LARGE = "too large"
    MALFORMED = "malformed"
    VERSION = "version"
    UNKNOWN_HOST = "unknown host"
    BAD_SIGNATURE = "bad signature"


class BeaconRefused(Exception):
    """The message is not one that this key's owner sealed; `reason` says why."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class BeaconBody:
    """One look at the host: `nonce` is the controller's session as the agent last heard it, empty if never."""

    boot_id: str
    nonce: str
    sent_at: float
    vms: Vms
    hypervisor: str
    system: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Beacon:
    """An authenticated beacon; whether it is fresh is for the receiver's replay guard to say."""

    host_id: int
    seq: int
    path: int
    body: BeaconBody


@dataclass(frozen=True, slots=True)
class Ack:
    """The controller's answer to a beacon that did not count: its session nonce, and the sequence number to exceed."""

    host_id: int
    seq: int
    path: int
    nonce: str
    floor: int


@dataclass(frozen=True, slots=True)
class BeaconReport:
    """A sign of life that counts: authentic, of this session, and newer than all before it on its path."""

    host_id: int
    boot_id: str
    seq: int
    sent_at: float
    vms: Vms
    hypervisor: str
    system: Mapping[str, str] | None
    source: str
    path: int = 0


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a host wrote on the shared datastore; `at` is that host's clock and only for people to read."""

    host_id: int
    boot_id: str
    seq: int
    at: float
    vms: Vms


def host_key(master: bytes, host_id: int) -> bytes:
    """The key of one host: knowing it reveals neither the master key nor another host's."""
    return hmac.digest(master, b"holdfast host key 1:%d" % host_id, "sha256")


def seal(key: bytes, host_id: int, seq: int, body: BeaconBody, path: int = 0) -> bytes:
    """The datagram that carries this beacon; ValueError when it would exceed MAX_DATAGRAM."""
    text = _beacon_text(body)
    if len(text) > _MAX_BODY:
        raise ValueError(f"beacon of host {host_id}: {len(text)} bytes with {len(body.vms)} VMs, limit {_MAX_BODY}")
    flags = 0
    if len(text) > _COMPRESS_ABOVE:
        text, flags = zlib.compress(text, 1), _COMPRESSED
    return _sealed(key, _BEACON, flags, path, host_id, seq, text)


def unseal(datagram: bytes, key_of: Callable[[int], bytes | None]) -> Beacon:
    """The beacon in this datagram; `key_of` knows each host's key, None for a host that does not exist."""
    flags, path, host_id, seq, payload = _opened(datagram, _BEACON, key_of)
    return Beacon(host_id, seq, path, _beacon_body(_inflated(payload) if flags & _COMPRESSED else payload))


def seal_ack(key: bytes, ack: Ack) -> bytes:
    """The datagram that carries this ack, sealed with the key of the host it goes to."""
    payload = _FLOOR.pack(ack.floor) + bytes.fromhex(ack.nonce)
    return _sealed(key, _ACK, 0, ack.path, ack.host_id, ack.seq, payload)


def unseal_ack(datagram: bytes, key: bytes, host_id: int) -> Ack:
    """The ack in this datagram, if it was sealed for this host."""
    _, path, _, seq, payload = _opened(datagram, _ACK, lambda claimed: key if claimed == host_id else None)
    nonce = payload[_FLOOR.size :].hex()
    if len(payload) < _FLOOR.size or not _NONCE.fullmatch(nonce):
        raise BeaconRefused(Refusal.MALFORMED)
    return Ack(host_id, seq, path, nonce, _FLOOR.unpack_from(payload)[0])


def seal_heartbeat(key: bytes, beat: Heartbeat) -> bytes:
    """The content of a heartbeat file."""
    fields = {"host_id": beat.host_id, "boot_id": beat.boot_id, "seq": beat.seq, "at": beat.at, "vms": beat.vms}
    text = json.dumps(fields, separators=(",", ":")).encode()
    return b"%s\n%s\n" % (text, hmac.digest(key, _HEARTBEAT_LABEL + text, "sha256").hex().encode())


def unseal_heartbeat(content: bytes, key: bytes, host_id: int) -> Heartbeat:
    """The heartbeat in this file's content, if this host wrote it."""
    if len(content) > MAX_HEARTBEAT:
        raise BeaconRefused(Refusal.TOO_LARGE)
    text, _, rest = content.partition(b"\n")
    if not rest.endswith(b"\n"):
        raise BeaconRefused(Refusal.TRUNCATED)
    expected = hmac.digest(key, _HEARTBEAT_LABEL + text, "sha256").hex().encode()
    if not hmac.compare_digest(rest[:-1], expected):
        raise BeaconRefused(Refusal.BAD_SIGNATURE)
    return _heartbeat(text, host_id)


def _sealed(key: bytes, kind: int, flags: int, path: int, host_id: int, seq: int, payload: bytes) -> bytes:
    if len(payload) + _OVERHEAD > MAX_DATAGRAM:
        raise ValueError(f"message of host {host_id}: {len(payload)} bytes do not fit a datagram of {MAX_DATAGRAM}")
    message = _HEADER.pack(_MAGIC, _VERSION, kind, flags, path, host_id, seq, len(payload)) + payload
    return message + hmac.digest(key, message, "sha256")


def _opened(datagram: bytes, kind: int, key_of: Callable[[int], bytes | None]) -> tuple[int, int, int, int, bytes]:
    """Flags, path, host id, sequence number and body of a datagram whose signature is right."""
    size = len(datagram)
    if size > MAX_DATAGRAM:
        raise BeaconRefused(Refusal.TOO_LARGE)
    if size < _OVERHEAD:
        raise BeaconRefused(Refusal.TRUNCATED)
    magic, version, said_kind, flags, path, host_id, seq, length = _HEADER.unpack_from(datagram)
    if magic != _MAGIC:
        raise BeaconRefused(Refusal.MALFORMED)
    if version != _VERSION:
        raise BeaconRefused(Refusal.VERSION)
    if size != _OVERHEAD + length or said_kind != kind:
        raise BeaconRefused(Refusal.TRUNCATED if size < _OVERHEAD + length else Refusal.MALFORMED)
    key = key_of(host_id)
    if key is None:
        raise BeaconRefused(Refusal.UNKNOWN_HOST)
    end = size - _TAG_BYTES
    if not hmac.compare_digest(hmac.digest(key, datagram[:end], "sha256"), datagram[end:]):
        raise BeaconRefused(Refusal.BAD_SIGNATURE)
    return flags, path, host_id, seq, datagram[_HEADER.size : end]


def _inflated(payload: bytes) -> bytes:
    """The body before compression; a small message that would unfold beyond the limit is refused on the way."""
    unpacking = zlib.decompressobj()
    try:
        text = unpacking.decompress(payload, _MAX_BODY)
    except zlib.error:
        raise BeaconRefused(Refusal.MALFORMED) from None
    if unpacking.unconsumed_tail:
        raise BeaconRefused(Refusal.TOO_LARGE)
    if not unpacking.eof or unpacking.unused_data:
        raise BeaconRefused(Refusal.MALFORMED)
    return text


def _beacon_text(body: BeaconBody) -> bytes:
    fields: dict[str, object] = {
        "boot_id": body.boot_id,
        "nonce": body.nonce,
        "sent_at": body.sent_at,
        "vms": body.vms,
        "hypervisor": body.hypervisor,
    }
    if body.system is not None:
        fields["system"] = dict(body.system)
    return json.dumps(fields, separators=(",", ":")).encode()


def _beacon_body(text: bytes) -> BeaconBody:
    fields = _json_object(text)
    try:
        boot_id, nonce, hypervisor = fields["boot_id"], fields["nonce"], fields["hypervisor"]
        sent_at, vms = _instant(fields["sent_at"]), _vms(fields["vms"])
        if not _BOOT_ID.fullmatch(boot_id) or not _NONCE.fullmatch(nonce) or hypervisor not in HYPERVISOR_STATES:
            raise BeaconRefused(Refusal.MALFORMED)
        system = _system(fields["system"]) if "system" in fields else None
    except (KeyError, TypeError, ValueError, OverflowError):
        raise BeaconRefused(Refusal.MALFORMED) from None
    return BeaconBody(boot_id, nonce, sent_at, vms, hypervisor, system)


def _heartbeat(text: bytes, host_id: int) -> Heartbeat:
    fields = _json_object(text)
    try:
        boot_id, seq = fields["boot_id"], fields["seq"]
        if fields["host_id"] != host_id or not _BOOT_ID.fullmatch(boot_id) or type(seq) is not int or seq < 0:
            raise BeaconRefused(Refusal.MALFORMED)
        return Heartbeat(host_id, boot_id, seq, _instant(fields["at"]), _vms(fields["vms"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        raise BeaconRefused(Refusal.MALFORMED) from None


def _json_object(text: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise BeaconRefused(Refusal.MALFORMED) from None
    if type(fields) is not dict:
        raise BeaconRefused(Refusal.MALFORMED)
    return fields


def _instant(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(value)
    return float(value)


def _vms(listed: Any) -> Vms:
    vms = tuple([(vm_id, state) for vm_id, state in listed])
    for vm_id, state in vms:
        if type(vm_id) is not int or not 0 <= vm_id <= _MAX_VM_ID or state not in VM_STATES:
            raise ValueError(vm_id)
    return vms


def _system(attributes: Any) -> dict[str, str]:
    if type(attributes) is not dict:
        raise TypeError(attributes)
    for name, value in attributes.items():
        if not _ATTRIBUTE.fullmatch(name) or type(value) is not str or len(value) > 256 or not value.isprintable():
            raise ValueError(name)
    return attributes
