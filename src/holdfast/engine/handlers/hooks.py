"""Commands on hooks; the rules and texts are OpenNebula's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from holdfast.engine import commands as c
from holdfast.engine.handlers import Handlers
from holdfast.engine.handlers.names import checked, checked_rename
from holdfast.engine.work import Work
from holdfast.model.enums import EffectKind, HostState, ImageState
from holdfast.model.errors import ActionError, HoldfastError
from holdfast.model.hook import Hook, HookExecution
from holdfast.model.template import Template
from holdfast.model.template_text import parse_any
from holdfast.model.vm_states import LcmState, VmState

_ON = {
    "PROLOG": ("ACTIVE", "PROLOG"),
    "RUNNING": ("ACTIVE", "RUNNING"),
    "SHUTDOWN": ("ACTIVE", "EPILOG"),
    "STOP": ("STOPPED", "LCM_INIT"),
    "DONE": ("DONE", "LCM_INIT"),
    "UNKNOWN": ("ACTIVE", "UNKNOWN"),
}


class HookRefused(HoldfastError):
    """A hook template that OpenNebula refuses (error code INTERNAL, as there)."""


def allocate(work: Work, command: c.AllocateHook) -> int:
    """``one.hook.allocate``."""
    given = parse_any(command.text)
    name = checked(work, Hook, given.get("NAME"))
    kind = given.get("TYPE").lower()
    if kind not in ("state", "api"):
        raise HookRefused(f"Invalid Hook type: {given.get('TYPE')}")
    if kind == "api":
        raise HookRefused("API hooks are not carried out by this version: use TYPE=state.")
    template = _checked_state_hook(given.without("NAME", "TYPE"))
    oid = work.draft.next_id(Hook)
    work.draft.put(Hook(oid, name, kind, template))
    return oid


def _checked_state_hook(template: Template) -> Template:
    if not template.get("COMMAND"):
        raise HookRefused("No COMMAND in template for Hook.")
    resource = template.get("RESOURCE")
    if not resource:
        raise HookRefused("RESOURCE attribute is required for STATE hooks.")
    checks = {"HOST": _host_states, "VM": _vm_states, "IMAGE": _image_states}
    if resource not in checks:
        raise HookRefused(f"Invalid resource type: {resource}")
    timeout = template.get("TIMEOUT")
    if timeout and not timeout.isdecimal():
        raise HookRefused(f'TIMEOUT must be a whole number of seconds, it is "{timeout}".')
    remote = "YES" if template.flag("REMOTE") else "NO"
    return template.without("ON").replaced({**checks[resource](template), "REMOTE": remote})


def _host_states(template: Template) -> Mapping[str, str]:
    state = template.get("STATE").upper()
    if state not in HostState.__members__:
        raise HookRefused(f"Invalid STATE: {template.get('STATE')}")
    return {"STATE": state}


def _image_states(template: Template) -> Mapping[str, str]:
    state = template.get("STATE").upper()
    if not state:
        raise HookRefused("Hook STATE attribute not found or invalid")
    if state not in ImageState.__members__ or state == "INIT":
        raise HookRefused(f"Invalid or unknown STATE condition: {state}")
    return {"STATE": state}


def _vm_states(template: Template) -> Mapping[str, str]:
    condition = template.get("ON").upper()
    if condition in _ON:
        state, lcm_state = _ON[condition]
        return {"STATE": state, "LCM_STATE": lcm_state}
    if condition not in ("CUSTOM", "") or (not condition and "LCM_STATE" not in template):
        raise HookRefused(f"Unknown state condition: {template.get('ON')}")
    state, lcm_state = template.get("STATE").upper(), template.get("LCM_STATE").upper()
    if state not in VmState.__members__:
        raise HookRefused(f"Wrong STATE: {template.get('STATE')}")
    if lcm_state not in LcmState.__members__:
        raise HookRefused(f"Wrong LCM_STATE: {template.get('LCM_STATE')}")
    return {"STATE": state, "LCM_STATE": lcm_state}


def delete(work: Work, command: c.DeleteHook) -> int:
    """Removes a hook and its log."""
    hook = work.get(Hook, command.oid)
    work.draft.delete(Hook, hook.oid)
    return hook.oid


def update(work: Work, command: c.UpdateHook) -> int:
    """Replaces or merges the template; what would make the hook unusable is refused."""
    hook = work.get(Hook, command.oid)
    given = parse_any(command.text).without("NAME", "TYPE")
    merged = hook.template.merged(given) if command.append else given
    try:
        template = _checked_state_hook(merged)
    except HookRefused as refusal:
        raise HookRefused(f"Cannot update template. {refusal.message}", hook.oid) from None
    work.draft.put(replace(hook, template=template))
    return hook.oid


def rename(work: Work, command: c.RenameHook) -> int:
    """Renames a hook."""
    hook = work.get(Hook, command.oid)
    work.draft.put(replace(hook, name=checked_rename(work, Hook, command.name, hook.oid)))
    return hook.oid


def lock(work: Work, command: c.LockHook) -> int:
    """Locks a hook against changes; it fires all the same, as in OpenNebula."""
    hook = work.get(Hook, command.oid)
    if not 1 <= command.level <= 4:
        raise ActionError(f"Wrong lock level {command.level}: 1 use, 2 manage, 3 admin, 4 all.", hook.oid)
    if command.test and hook.lock:
        raise ActionError("The hook is already locked.", hook.oid)
    work.draft.put(replace(hook, lock=command.level, lock_time=work.second))
    return hook.oid


def unlock(work: Work, command: c.UnlockHook) -> int:
    """Unlocks a hook."""
    hook = work.get(Hook, command.oid)
    work.draft.put(replace(hook, lock=0, lock_time=0))
    return hook.oid


def retry(work: Work, command: c.RetryHook) -> int:
    """Runs a hook again with the arguments of an earlier execution."""
    hook = work.get(Hook, command.oid)
    record = _execution(work, hook, command.execution_id)
    args = {"ARGUMENTS": record.arguments, "REMOTE_HOST": record.remote_host, "RETRY": "YES"}
    work.plan(EffectKind.HOOK, hook.oid, -1, args, limit_s=time_limit_s(hook))
    return hook.oid


def _execution(work: Work, hook: Hook, execution_id: int) -> HookExecution:
    for record in work.executions.get(hook.oid, ()):
        if record.execution_id == execution_id:
            return record
    raise ActionError(
        f"Hook {hook.oid} has no execution {execution_id} in its log: see onehook show {hook.oid}.", hook.oid
    )


def time_limit_s(hook: Hook) -> float | None:
    """TIMEOUT of the hook in seconds; None means the default."""
    seconds = hook.template.get("TIMEOUT")
    return float(seconds) if seconds.isdecimal() and int(seconds) else None


HANDLERS: Handlers = {
    c.AllocateHook: allocate,
    c.DeleteHook: delete,
    c.UpdateHook: update,
    c.RenameHook: rename,
    c.LockHook: lock,
    c.UnlockHook: unlock,
    c.RetryHook: retry,
}
