"""Hooks and the log of their executions as XML."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.api.views.markup import text
from holdfast.model.hook import Hook, HookExecution
from holdfast.model.template_xml import write_xml


def short(hook: Hook) -> str:
    """The hook as lists show it."""
    return f"<HOOK>{_body(hook)}</HOOK>"


def full(hook: Hook, executions: Iterable[HookExecution]) -> str:
    """The hook with its log, oldest execution first (``one.hook.info``)."""
    return f"<HOOK>{_body(hook)}{log(executions)}</HOOK>"


def _body(hook: Hook) -> str:
    lock = f"<LOCK><LOCKED>{hook.lock}</LOCKED><TIME>{hook.lock_time}</TIME></LOCK>" if hook.lock else ""
    return (
        f"<ID>{hook.oid}</ID><NAME>{text(hook.name)}</NAME><TYPE>{text(hook.type)}</TYPE>{lock}"
        f"<TEMPLATE>{write_xml(hook.template)}</TEMPLATE>"
    )


def log(executions: Iterable[HookExecution]) -> str:
    """The records in the given order."""
    return f"<HOOKLOG>{''.join(map(record, executions))}</HOOKLOG>"


def record(execution: HookExecution) -> str:
    """One execution."""
    remote = f"<REMOTE_HOST>{text(execution.remote_host)}</REMOTE_HOST>" if execution.remote_host else ""
    retry = "<RETRY>yes</RETRY>" if execution.retry else ""
    return (
        f"<HOOK_EXECUTION_RECORD><HOOK_ID>{execution.hook_id}</HOOK_ID>"
        f"<EXECUTION_ID>{execution.execution_id}</EXECUTION_ID><TIMESTAMP>{execution.timestamp}</TIMESTAMP>"
        f"<ARGUMENTS>{text(execution.arguments)}</ARGUMENTS><EXECUTION_RESULT>"
        f"<COMMAND>{text(execution.command)}</COMMAND><STDOUT>{text(execution.stdout_b64)}</STDOUT>"
        f"<STDERR>{text(execution.stderr_b64)}</STDERR><CODE>{execution.code}</CODE></EXECUTION_RESULT>"
        f"{remote}{retry}</HOOK_EXECUTION_RECORD>"
    )
