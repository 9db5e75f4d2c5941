"""Wakes the failover hook when a host is lost (the rule of ``hooks/match.py``, without its rendering)."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.engine.ports import HookOrder
from holdfast.model.enums import HostState
from holdfast.model.hook import Hook
from holdfast.model.host import Host
from holdfast.model.storage import Image
from holdfast.model.vm import Vm


class HostErrorMatcher:
    """A host that is lost wakes every installed hook; ``arguments`` are the mode and the flags of the failover."""

    def __init__(self, arguments: str) -> None:
        self._arguments = arguments

    def match(
        self, before: Vm | Host | Image | None, after: Vm | Host | Image, hooks: Sequence[Hook]
    ) -> Sequence[HookOrder]:
        """One order for each hook, when the host enters ERROR (or is lost while it is DISABLED)."""
        if not isinstance(after, Host) or not _is_lost(after):
            return ()
        if isinstance(before, Host) and _is_lost(before):
            return ()
        return [HookOrder(hook.oid, f"{after.oid} {self._arguments}") for hook in hooks]


def _is_lost(host: Host) -> bool:
    return host.error_since > 0 and host.state is not HostState.OFFLINE
