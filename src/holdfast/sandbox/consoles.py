"""The console server's clock: notes when each part of a guest's serial console arrived.

A guest's own clock is off by up to a second, as QEMU's real-time clock starts on a whole one.  Beside each console file
there is one of stamps, a line with the file's size and the host's time for every change seen; the ledger reports times
from it.  Nothing is judged by them.
"""

import asyncio
import time
from pathlib import Path

from holdfast.sandbox.ledger import STAMPS_SUFFIX

_POLL_S = 0.05


async def stamp_arrivals(consoles: Path) -> None:
    """Stamps all consoles in this folder until cancelled."""
    sizes: dict[str, int] = {}
    while True:
        for log in consoles.glob("*.log"):
            size = log.stat().st_size
            if size != sizes.get(log.name):
                sizes[log.name] = size
                with log.with_name(log.name + STAMPS_SUFFIX).open("a", encoding="ascii") as stamps:
                    stamps.write(f"{size} {time.time():.3f}\n")
        await asyncio.sleep(_POLL_S)
