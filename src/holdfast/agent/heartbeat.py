"""The sign of life on the shared datastore, for when every network is gone.

Each write replaces the file as a whole, so that a reader never sees half of one.  The folder is never created: on a
host where the datastore is not mounted, that would put the heartbeat on the local disk and lie.

Invariants: sequence numbers only rise, also over a restart of the agent and a clock that was set back (what an
earlier agent wrote is read first); this module may hang with the storage, so it runs in a thread of its own.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

from holdfast.model.beacon import MAX_HEARTBEAT, BeaconRefused, Heartbeat, Vms, seal_heartbeat, unseal_heartbeat


class HeartbeatWriter:
    """Writes one host's heartbeat file; `vms` tells what runs on the host."""

    def __init__(self, file: Path, key: bytes, host_id: int, boot_id: str, vms: Callable[[], Vms]) -> None:
        self._file = file
        self._draft = file.with_name(f".{file.name}.draft")
        self._key = key
        self._host_id = host_id
        self._boot_id = boot_id
        self._vms = vms
        self._seq = 0

    def write(self) -> None:
        """Replace the file with the present state."""
        at = time.time()
        self._seq = max(self._seq or self._earlier_seq(), int(at * 1000) - 1) + 1
        beat = Heartbeat(self._host_id, self._boot_id, self._seq, at, self._vms())
        descriptor = os.open(self._draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "wb") as draft:
            draft.write(seal_heartbeat(self._key, beat))
        os.replace(self._draft, self._file)

    def _earlier_seq(self) -> int:
        try:
            with self._file.open("rb") as file:
                return unseal_heartbeat(file.read(MAX_HEARTBEAT), self._key, self._host_id).seq
        except (FileNotFoundError, BeaconRefused):
            return 0
