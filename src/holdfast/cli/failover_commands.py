"""``onehost failover``: watch, start, unblock and stop what happens when a host dies.  OpenNebula has no such thing.

``confirm`` is the one command that can make a VM run twice, if the person typing it is wrong: it asks for the host's
name on a terminal, and without one it insists on ``--yes``.
"""

from __future__ import annotations

import sys
import time

from holdfast.cli.errors import CliError
from holdfast.cli.failover_screen import FAILOVER_TABLE, print_failover
from holdfast.cli.grammar import Call, Command
from holdfast.cli.listing import FORMATS, LIST_OPTIONS, print_document, print_list
from holdfast.cli.lookup import find_id, is_id
from holdfast.cli.options import Option, Values
from holdfast.cli.terminal import harmless
from holdfast.cli.xmltree import parse, text_of

_ALLOCATE_OPTIONS = (
    Option("migrate", "m", description="restart the VMs elsewhere from their disks (the default)"),
    Option("recreate", "r", description="delete the VMs and create them again; their disks are lost"),
    Option("delete", "d", description="delete the VMs"),
    Option("force", "f", description="with --recreate: suspended and powered-off VMs, too"),
    Option("pause", "p", "N", "wait N beacon periods for the host to come back"),
    Option("no-fencing", "u", description="do not power the host off; wait for another proof"),
)
_CONFIRM_OPTIONS = (
    Option("comment", argument="TEXT", description="how you know that the host is dead; it is recorded"),
    Option("yes", description="do not ask"),
)


def failover_flags(force: bool, pause: int | None, fencing: bool) -> str:
    """The flags of ``one.failover.allocate`` as template text."""
    flags = [f'FORCE="{_yes_no(force)}"', f'FENCING="{_yes_no(fencing)}"']
    if pause is not None:
        flags.insert(1, f'PAUSE="{pause}"')
    return " ".join(flags)


def chosen_mode(values: Values) -> str | None:
    """The last of ``-m``, ``-r`` and ``-d``, None when there was none."""
    return values.last_of("migrate", "recreate", "delete")


def _yes_no(flag: bool) -> str:
    return "YES" if flag else "NO"


def _failover_id(call: Call) -> int:
    text = call.arguments[0]
    if not is_id(text):
        raise CliError(f"A failover is named by its number, not '{text}'; 'onehost failover list' shows them.")
    return int(text)


def _list(call: Call) -> int:
    return print_list(lambda: call.client.text("one.failoverpool.info"), "FAILOVER", FAILOVER_TABLE, call.values)


def _show(call: Call) -> int:
    text = call.client.text("one.failover.info", _failover_id(call))
    if not print_document(text, call.values):
        print_failover(parse(text, "The server"), time.time())
    return 0


def _allocate(call: Call) -> int:
    values = call.values
    flags = failover_flags(values.switch("force"), values.number("pause"), not values.switch("no-fencing"))
    host_id = find_id(call.client, "HOST", call.arguments[0])
    mode = chosen_mode(values) or "migrate"
    print(f"ID: {call.client.identifier('one.failover.allocate', host_id, mode, flags)}")
    return 0


def _retry(call: Call) -> int:
    call.client.identifier("one.failover.retry", _failover_id(call))
    return 0


def _abort(call: Call) -> int:
    call.client.identifier("one.failover.abort", _failover_id(call))
    return 0


def _confirm(call: Call) -> int:
    failover_id = _failover_id(call)
    if not call.values.switch("yes"):
        _ask_for_name(call, failover_id)
    comment = call.values.text("comment") or ""
    call.client.identifier("one.failover.confirm", failover_id, comment)
    return 0


def _ask_for_name(call: Call, failover_id: int) -> None:
    if not sys.stdin.isatty():
        raise CliError("onehost failover confirm needs --yes when there is no terminal to ask on.")
    failover = call.client.document("one.failover.info", failover_id)
    name = harmless(text_of(failover, "HOSTNAME"))
    print(f"You are about to state that host {name} is off and cannot come back by itself.")
    print(f"If {name} still runs, its VMs will run twice and damage their disks.")
    try:
        typed = input(f"Type the host name to confirm ({name}): ")
    except EOFError:
        typed = ""
    if typed.strip() != name:
        raise CliError(f"Not confirmed: '{harmless(typed.strip())}' is not {name}. Nothing was changed.")


_ID = "<failoverid>"

FAILOVER_COMMANDS = (
    Command("failover list", (), "list the failovers", _list, LIST_OPTIONS),
    Command("failover show", (_ID,), "tell everything about a failover", _show, FORMATS),
    Command("failover allocate", ("<hostid>",), "start the failover of a host", _allocate, _ALLOCATE_OPTIONS),
    Command("failover retry", (_ID,), "try again what a blocked failover could not do", _retry),
    Command("failover confirm", (_ID,), "state that you know the host to be dead", _confirm, _CONFIRM_OPTIONS),
    Command("failover abort", (_ID,), "stop; VMs not yet restarted stay as they are", _abort),
)
