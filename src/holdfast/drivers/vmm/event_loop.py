"""libvirt's event loop: one thread for the whole process, because libvirt allows no more than one.

It carries lifecycle events and, above all, the keepalive of every connection, so it must run before the first
connection is opened.  libvirt offers no way to take the registration back: the thread lasts as long as the process.
"""

from __future__ import annotations

import threading
import time

import libvirt

_PAUSE_AFTER_ERROR_S = 0.1
_lock = threading.Lock()
_thread: threading.Thread | None = None


def ensure_running() -> None:
    """Starts the thread unless it runs already."""
    global _thread
    with _lock:
        if _thread is not None:
            return
        # Errors come to us as exceptions; libvirt's default is to print them on stderr as well.
        libvirt.registerErrorHandler(_say_nothing, None)
        libvirt.virEventRegisterDefaultImpl()
        _thread = threading.Thread(target=_turn_for_ever, name="libvirt-events", daemon=True)
        _thread.start()


def _say_nothing(_context: object, _error: object) -> None:
    return


def _turn_for_ever() -> None:
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError:
            # The loop must not end: without it no connection would ever be found dead.
            time.sleep(_PAUSE_AFTER_ERROR_S)
