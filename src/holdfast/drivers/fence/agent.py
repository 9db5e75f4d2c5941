"""Switches hosts off through fence agents, and reads their power.

``off`` is believed only when a second, independent run of the agent with ``action=status`` says off as well; a device
that takes its time is read again until its limit.  An agent that had to be stopped has failed, whatever it did.  The
agents' ``reboot`` and ``cycle`` are never used: only ``off`` proves anything.

A device is spoken to by one action at a time, because many consoles have a single session; the turn is waited for
with a limit of its own.  Nothing is cached.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from weakref import WeakValueDictionary

from holdfast.drivers.fence import request
from holdfast.drivers.fence.classify import (
    OUTCOME_OF_STATE,
    Outcome,
    PowerState,
    failure,
    off_outcome,
    power_state,
    refuses_cipher,
)
from holdfast.drivers.fence.parameters import AGENT_DIRECTORIES, Device
from holdfast.drivers.fence.report import FenceReport, PowerReading, Transcript
from holdfast.drivers.process import CannotRun, Completed, run

READING_LIMIT_S = 10.0
"""The longest that a reading of the power takes by itself."""

_OUTPUT_LIMIT = 64 * 1024
_VERIFY_SHARE = 0.25
_VERIFY_RESERVE_S = 5.0
_REREAD_S = 0.5
_AGENT_KNOWS_BEST = (Outcome.UNKNOWN, Outcome.BAD_PARAMETERS, Outcome.AGENT_MISSING)


class FenceAgents:
    """Runs the agents found in some directories, one action at a time for each device."""

    def __init__(self, directories: Sequence[Path] = AGENT_DIRECTORIES, turn_limit_s: float = 60.0) -> None:
        self._directories = tuple(directories)
        self._turn_limit_s = turn_limit_s
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def fence_off(self, device: Device, level: int = 1) -> FenceReport:
        """Switches the host off and verifies it, within the device's limit."""
        started = time.monotonic()
        transcript = Transcript()
        reason = ""
        try:
            async with self._turn(device, self._turn_limit_s):
                outcome = await self._off_and_verified(device, transcript)
        except request.CannotAsk as problem:
            outcome, reason = problem.outcome, problem.reason
        return FenceReport(
            ok=outcome.is_off,
            outcome=outcome,
            text=_sentence(device, outcome, reason, transcript),
            raw=transcript.text,
            took_s=time.monotonic() - started,
            level=level,
            devices=(device.name,),
        )

    async def power_status(self, device: Device, limit_s: float | None = None) -> PowerReading:
        """Asks the device whether the host has power."""
        started = time.monotonic()
        limit_s = min(device.limit_s, READING_LIMIT_S) if limit_s is None else limit_s
        transcript = Transcript()
        reason = ""
        try:
            async with self._turn(device, limit_s):
                done = await self._ask(device, "status", limit_s, transcript)
            state, outcome = power_state(done), failure(done)
        except request.CannotAsk as problem:
            state, outcome, reason = PowerState.UNKNOWN, problem.outcome, problem.reason
        if state in (PowerState.ON, PowerState.OFF):
            text = f"{device.name}: power is {state.value}."
        else:
            text = _sentence(device, outcome, reason, transcript)
        return PowerReading(state, text, transcript.text, time.monotonic() - started)

    async def _off_and_verified(self, device: Device, transcript: Transcript) -> Outcome:
        deadline = time.monotonic() + device.limit_s
        reserve_s = min(_VERIFY_RESERVE_S, device.limit_s * _VERIFY_SHARE)
        outcome = off_outcome(await self._ask(device, "off", device.limit_s - reserve_s, transcript))
        if not outcome.is_off:
            return outcome
        while True:
            left_s = deadline - time.monotonic()
            state = power_state(await self._ask(device, "status", left_s, transcript))
            if state is PowerState.OFF:
                return outcome
            left_s = deadline - time.monotonic()
            if state is PowerState.DENIED or left_s < 2 * _REREAD_S:
                return OUTCOME_OF_STATE[state]
            await asyncio.sleep(_REREAD_S)

    async def _ask(self, device: Device, action: str, limit_s: float, transcript: Transcript) -> Completed:
        """Runs the agent once, or once more where the BMC wants another cipher suite; raises CannotAsk."""
        path = self._path(device)
        options = request.with_password(device)
        secrets = [*device.secrets(), options.get("password", "")]
        deadline = time.monotonic() + limit_s
        suites = request.ciphers(device)
        for cipher in suites:
            left_s = deadline - time.monotonic()
            done = await _run(path, request.stdin_text(device.agent, options, action, cipher, left_s), left_s)
            transcript.add(f"{device.name} action={action}", done, secrets)
            if not refuses_cipher(done):
                return done
        reason = f"the BMC refuses cipher suite {' and '.join(suites)}: set FENCE_CIPHER to one that it has"
        raise request.CannotAsk(Outcome.BAD_PARAMETERS, reason)

    def _path(self, device: Device) -> Path:
        directories = (device.directory,) if device.directory else self._directories
        for directory in directories:
            path = directory / device.agent
            if os.access(path, os.X_OK) and path.is_file():
                return path
        places = ", ".join(str(directory) for directory in directories)
        raise request.CannotAsk(Outcome.AGENT_MISSING, f"there is no {device.agent} in {places}")

    @asynccontextmanager
    async def _turn(self, device: Device, limit_s: float) -> AsyncIterator[None]:
        lock = self._turns.setdefault(device.console, asyncio.Lock())
        try:
            async with asyncio.timeout(limit_s):
                await lock.acquire()
        except TimeoutError:
            reason = f"the device was busy with other actions for {limit_s:g} s"
            raise request.CannotAsk(Outcome.TIMED_OUT, reason) from None
        try:
            yield
        finally:
            lock.release()


async def _run(path: Path, stdin: bytes, limit_s: float) -> Completed:
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "PYTHONWARNINGS": "ignore"}
    env["HOME"] = os.environ.get("HOME", "/")
    try:
        return await run([str(path)], stdin=stdin, deadline_s=limit_s, env=env, output_limit=_OUTPUT_LIMIT)
    except CannotRun as error:
        raise request.CannotAsk(Outcome.AGENT_MISSING, error.message.rstrip(".")) from None


def _sentence(device: Device, outcome: Outcome, reason: str, transcript: Transcript) -> str:
    words = reason
    if not reason and outcome in _AGENT_KNOWS_BEST and transcript.last_words:
        words = f"the agent said: {transcript.last_words}"
    return f"{device.name}: {outcome.meaning}" + (f" ({words})" if words else "")
