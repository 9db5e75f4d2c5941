"""Short-lived programs that the sandbox needs: run with a deadline, and killed with all their children when it passes.

Debian keeps half of these programs in /usr/sbin, which ordinary users do not have in their PATH; so the search path is
fixed here, and everything that the sandbox starts inherits it.
"""

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from holdfast.sandbox.errors import RackError

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KEPT = ("HOME", "PYTHONPATH", "XDG_CACHE_HOME")


def environment() -> dict[str, str]:
    """The environment for everything in the sandbox: little, and the same for whoever started it."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {"PATH": SEARCH_PATH, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **kept}


def run(argv: Sequence[str], limit_s: float, *, text: str = "", cwd: Path | None = None) -> str:
    """What this program prints when it succeeds; RackError with its complaint when it fails or takes too long."""
    process = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        cwd=cwd,
        env=environment(),
        start_new_session=True,
    )
    try:
        output, complaint = process.communicate(text, timeout=limit_s)
    except BaseException as exc:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if isinstance(exc, subprocess.TimeoutExpired):
            raise RackError(f"{argv[0]}: no end after {limit_s:g} s, killed ({' '.join(argv)})") from None
        raise
    if process.returncode != 0:
        reason = complaint.strip() or output.strip() or f"exit code {process.returncode}"
        raise RackError(f"{argv[0]} failed: {reason} ({' '.join(argv)})")
    return output
