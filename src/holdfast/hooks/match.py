"""Which hooks a state change wakes, and with which arguments.

Words of ARGUMENTS that are exactly ``$TEMPLATE`` (base64 of the object's XML), ``$ID`` or ``$NAME`` are replaced; all
others are passed on.  A host that is lost while DISABLED wakes the hooks of ERROR, although it keeps its state.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Sequence

from holdfast.engine.ports import HookOrder
from holdfast.model.enums import HostState
from holdfast.model.hook import Hook
from holdfast.model.host import Host
from holdfast.model.storage import Image
from holdfast.model.vm import Vm

LOG = logging.getLogger("holdfast.hooks")
Subject = Vm | Host | Image
_RESOURCE: dict[type, str] = {Vm: "VM", Host: "HOST", Image: "IMAGE"}


class Matcher:
    """Compares states; ``render`` gives an object's XML."""

    def __init__(self, render: Callable[[Subject], str]) -> None:
        self._render = render

    def match(self, before: Subject | None, after: Subject, hooks: Sequence[Hook]) -> Sequence[HookOrder]:
        """One order for each hook that the change wakes."""
        entered = _names(after)
        if before is not None and _names(before) == entered:
            return ()
        woken = [hook for hook in hooks if _wants(hook, after, entered)]
        return [HookOrder(hook.oid, self._arguments(hook, after), _remote_host(hook, after)) for hook in woken]

    def _arguments(self, hook: Hook, subject: Subject) -> str:
        """The argument string; empty when it cannot be built: as in OpenNebula the hook runs all the same."""
        try:
            return " ".join(self._word(word, subject) for word in hook.template.get("ARGUMENTS").split())
        except Exception:
            LOG.exception("hook %d (%s): its arguments cannot be built, it runs without", hook.oid, hook.name)
            return ""

    def _word(self, word: str, subject: Subject) -> str:
        if word == "$TEMPLATE":
            return base64.b64encode(self._render(subject).encode()).decode()
        if word == "$ID":
            return str(subject.oid)
        if word == "$NAME":
            return subject.name
        return "" if word == "$API" else word


def _names(subject: Subject) -> tuple[str, str]:
    """The names of STATE and LCM_STATE (empty for all but VMs)."""
    if isinstance(subject, Vm):
        return subject.state.name, subject.lcm_state.name
    if isinstance(subject, Host) and subject.error_since and subject.state is not HostState.OFFLINE:
        return "ERROR", ""
    return subject.state.name, ""


def _wants(hook: Hook, subject: Subject, entered: tuple[str, str]) -> bool:
    template = hook.template
    if template.get("RESOURCE") != _RESOURCE[type(subject)] or template.get("STATE") != entered[0]:
        return False
    return not isinstance(subject, Vm) or template.get("LCM_STATE", entered[1]) == entered[1]


def _remote_host(hook: Hook, subject: Subject) -> str:
    if not hook.template.flag("REMOTE"):
        return ""
    if isinstance(subject, Host):
        return subject.name
    return subject.current.hostname if isinstance(subject, Vm) and subject.current else ""
