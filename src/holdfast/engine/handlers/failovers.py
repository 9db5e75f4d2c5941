"""Commands on failovers: opened by the hook, driven by the operator when they are BLOCKED."""

from __future__ import annotations

from dataclasses import replace

from holdfast.engine import commands as c
from holdfast.engine import failover_work
from holdfast.engine.handlers import Handlers
from holdfast.engine.sightings import open_failover
from holdfast.engine.work import Work
from holdfast.failover.table import Event
from holdfast.model.enums import FailoverMode, FailoverState
from holdfast.model.errors import ActionError, ArgumentError
from holdfast.model.failover import Failover, Step
from holdfast.model.host import Host
from holdfast.model.template_text import parse_any

REBOOT_COUNTS_S = 60
"""So long after a lost host came back with another boot its hook may still open the failover of the old boot."""


def allocate(work: Work, command: c.AllocateFailover) -> int:
    """Opens a failover for a lost host; one that is open already is answered instead of a second one."""
    host = work.get(Host, command.host_id)
    running = open_failover(work, host.oid)
    if running is not None and not _died_again(host, running):
        return running.oid
    rebooted = (
        bool(host.lost_boot_id)
        and host.boot_id != host.lost_boot_id
        and work.second - host.last_seen <= REBOOT_COUNTS_S
    )
    if not host.error_since and not rebooted:
        raise ActionError(
            f"Host {host.oid} ({host.name}) is in touch (state {host.state.name}): only a lost host fails over.",
            host.oid,
        )
    failover = _new(work, command, host)
    work.draft.put(failover)
    if rebooted:
        work.draft.put(replace(host, lost_boot_id=""))
    failover_work.begin(work, failover)
    return failover.oid


def _died_again(host: Host, running: Failover) -> bool:
    """The open failover has its proof of an earlier boot; the host came back since, and was lost once more."""
    return running.proof_id >= 0 and bool(host.lost_boot_id) and host.lost_boot_id != running.boot_id


def _new(work: Work, command: c.AllocateFailover, host: Host) -> Failover:
    try:
        mode = FailoverMode(command.mode)
    except ValueError:
        modes = ", ".join(known.value for known in FailoverMode)
        raise ArgumentError(f'Wrong failover mode "{command.mode}": one of {modes}.') from None
    flags = parse_any(command.flags)
    pause = flags.get_int("PAUSE", 0)
    if pause < 0:
        raise ArgumentError(f"PAUSE must not be negative, it is {pause}.")
    since = host.error_since or work.now
    wait_s = pause * work.settings.patience.beacon_period_s
    silent_since = min(
        (item.at for item in work.senses.evidence(host.oid, work.now) if item.source == "agent"), default=since
    )
    opened = f"host {host.name} is lost: {max(0.0, since - silent_since):.1f} s of silence"
    state = FailoverState.WATCHING
    return Failover(
        work.draft.next_id(Failover),
        host.oid,
        host.name,
        state,
        mode,
        work.actor.name,
        silent_since,
        force=flags.flag("FORCE"),
        pause=pause,
        fencing=flags.flag("FENCING", True),
        deadline=since + wait_s,
        boot_id=host.lost_boot_id or host.boot_id,
        evidence=work.senses.evidence(host.oid, work.now),
        steps=(Step(since, state, opened), Step(work.now, state, f"failover opened by {work.actor.name}")),
    )


def retry(work: Work, command: c.RetryFailover) -> int:
    """A BLOCKED failover goes on."""
    failover = work.get(Failover, command.oid)
    failover_work.command(work, failover, Event.RETRY, f"{work.actor.name} asks to try again")
    return failover.oid


def confirm(work: Work, command: c.ConfirmFailover) -> int:
    """The operator vouches that the host is off."""
    failover = work.get(Failover, command.oid)
    failover_work.confirm(work, failover, command.comment)
    return failover.oid


def abort(work: Work, command: c.AbortFailover) -> int:
    """Gives up a failover."""
    failover = work.get(Failover, command.oid)
    failover_work.command(work, failover, Event.ABORT, f"aborted by {work.actor.name}")
    return failover.oid


HANDLERS: Handlers = {
    c.AllocateFailover: allocate,
    c.RetryFailover: retry,
    c.ConfirmFailover: confirm,
    c.AbortFailover: abort,
}
