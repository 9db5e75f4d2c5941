"""Runs the site's fence script, ``fence_host.sh`` beside the hook, as OpenNebula does.

It gets the host's XML in base64 on standard input; exit code 0 says that the host is off.  It has a deadline, after
which it and everything it started is killed: an unfinished fencing is a failed one.
"""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FILE_NAME = "fence_host.sh"
TIME_LIMIT_S = 300.0
_DRAIN_S = 5.0


@dataclass(frozen=True, slots=True)
class FenceResult:
    """Whether the host is off, what the script said, and what went wrong if something did."""

    fenced: bool
    output: str = ""
    failure: str = ""


def find_fence_script(directories: Sequence[Path]) -> Path | None:
    """The first executable fence script in ``directories``."""
    candidates = (directory / FILE_NAME for directory in directories)
    return next((path for path in candidates if path.is_file() and os.access(path, os.X_OK)), None)


def run_fence_script(script: Path, host_xml: str, time_limit_s: float = TIME_LIMIT_S) -> FenceResult:
    """Has ``script`` fence the host that ``host_xml`` describes."""
    try:
        process = subprocess.Popen(
            [str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        return FenceResult(False, failure=f"{script} cannot be started: {error.strerror}")
    try:
        output, _ = process.communicate(base64.b64encode(host_xml.encode()), timeout=time_limit_s)
    except subprocess.TimeoutExpired:
        return FenceResult(False, _kill(process), f"{script} did not end within {time_limit_s:g} s and was killed")
    except BaseException:
        _kill(process)
        raise
    text = output.decode(errors="replace")
    if process.returncode == 0:
        return FenceResult(True, text)
    return FenceResult(False, text, f"{script} ended with {_ending(process.returncode)}")


def _kill(process: subprocess.Popen[bytes]) -> str:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    try:
        output, _ = process.communicate(timeout=_DRAIN_S)
    except subprocess.TimeoutExpired as expired:
        # A descendant left the process group and keeps our pipe open: what was read so far has to do.
        output = expired.output or b""
    return output.decode(errors="replace")


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
