"""Does an authentic beacon count as life?  Only if nobody can have kept it from an earlier time.

A beacon counts when it carries this session's nonce (so it was made after this controller started), comes from the
boot that spoke last, and has a higher sequence number than everything counted before on its path.  A boot id that
another has followed never counts again: the late or replayed word of a boot that is over must not look like a
reboot into it.

Invariant: memory is bounded by hosts and paths, because only authentic beacons of this session are remembered.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

from holdfast.model.beacon import Beacon

_EARLIER_BOOTS = 16


class Freshness(StrEnum):
    """What a beacon is to the guard."""

    COUNTS = "counts"
    OTHER_SESSION = "other session"
    REPLAYED = "replayed"
    EARLIER_BOOT = "earlier boot"
    RIVAL = "rival"
    """An earlier boot that still speaks: its sequence goes on, so it is no replay."""


@dataclass(slots=True)
class _Spoken:
    """What one host has said in this session."""

    boot_id: str
    highest: dict[int, int] = field(default_factory=dict)
    earlier: deque[str] = field(default_factory=lambda: deque(maxlen=_EARLIER_BOOTS))
    last_words: dict[str, int] = field(default_factory=dict)


class ReplayGuard:
    """Judges beacons; remembers those that counted."""

    def __init__(self, nonce: str) -> None:
        self.nonce = nonce
        self._hosts: dict[int, _Spoken] = {}

    def judge(self, beacon: Beacon) -> Freshness:
        """Whether this beacon counts; if it does, none like it or before it will again."""
        body = beacon.body
        if body.nonce != self.nonce:
            return Freshness.OTHER_SESSION
        spoken = self._hosts.get(beacon.host_id)
        if spoken is None:
            spoken = self._hosts[beacon.host_id] = _Spoken(body.boot_id)
        elif spoken.boot_id != body.boot_id:
            if body.boot_id in spoken.earlier:
                return self._of_earlier_boot(spoken, body.boot_id, beacon.seq)
            if len(spoken.earlier) == spoken.earlier.maxlen:
                spoken.last_words.pop(spoken.earlier[0], None)
            spoken.earlier.append(spoken.boot_id)
            spoken.last_words[spoken.boot_id] = max(spoken.highest.values(), default=-1)
            spoken.boot_id = body.boot_id
            spoken.highest.clear()
        if beacon.seq <= spoken.highest.get(beacon.path, -1):
            return Freshness.REPLAYED
        spoken.highest[beacon.path] = beacon.seq
        return Freshness.COUNTS

    @staticmethod
    def _of_earlier_boot(spoken: _Spoken, boot_id: str, seq: int) -> Freshness:
        if seq <= spoken.last_words.get(boot_id, -1):
            return Freshness.EARLIER_BOOT
        spoken.last_words[boot_id] = seq
        return Freshness.RIVAL

    def floor(self, beacon: Beacon) -> int:
        """The sequence number that the sender of this beacon must exceed."""
        spoken = self._hosts.get(beacon.host_id)
        if spoken is None or spoken.boot_id != beacon.body.boot_id:
            return 0
        return spoken.highest.get(beacon.path, 0)

    def forget(self, host_id: int) -> None:
        """Start afresh with this host."""
        self._hosts.pop(host_id, None)
