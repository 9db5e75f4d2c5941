"""Carries out HOOK effects: runs the hook's command and brings back what the log keeps."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from holdfast.engine.ports import Order
from holdfast.hooks.executor import HookResult, execute
from holdfast.model.effect import Answer


class HookDriver:
    """The driver of hook executions; ``environment`` tells them where the API is and who they are there."""

    def __init__(self, base_path: Path, environment: Mapping[str, str], clock: Callable[[], float] = time.time) -> None:
        self._base_path = base_path
        self._environment = environment
        self._clock = clock

    async def run(self, order: Order) -> Answer:
        """Runs the hook; its result is an answer whatever its code."""
        hook = order.hook
        if hook is None:
            return Answer(False, "The hook was deleted.")
        args = order.effect.args
        result = await execute(
            hook.template.get("COMMAND"),
            args.get("ARGUMENTS", ""),
            stdin=hook.template.flag("ARGUMENTS_STDIN"),
            remote_host=(args.get("REMOTE_HOST") or None) if hook.template.flag("REMOTE") else None,
            base_path=self._base_path,
            env=self._environment,
            timeout_s=max(1.0, order.effect.deadline - self._clock()),
        )
        return _answer(result)

    async def probe(self, order: Order) -> Answer | None:
        """After a restart nobody knows how far the hook came: it runs again (at least once is promised)."""
        return None


def _answer(result: HookResult) -> Answer:
    values = {
        "COMMAND": result.command,
        "STDOUT": base64.b64encode(result.stdout).decode(),
        "STDERR": base64.b64encode(result.stderr).decode(),
        "CODE": str(result.code),
    }
    return Answer(result.code == 0, f"exit code {result.code}", values=values)
