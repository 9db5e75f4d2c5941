"""Hooks and the record of their executions."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.model.template import EMPTY, Template


@dataclass(frozen=True, slots=True)
class Hook:
    """A command to run on an event; TYPE ``state`` or ``api``."""

    oid: int
    name: str
    type: str
    template: Template = EMPTY
    lock: int = 0
    lock_time: int = 0
    next_execution: int = 0


@dataclass(frozen=True, slots=True)
class HookExecution:
    """One run of a hook; ``arguments`` is the final argument string, output is base64."""

    hook_id: int
    execution_id: int
    timestamp: int
    arguments: str
    command: str
    stdout_b64: str
    stderr_b64: str
    code: int
    remote_host: str = ""
    retry: bool = False
