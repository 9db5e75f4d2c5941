"""``onehook``: commands that run when something happens, and the log of their runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from holdfast.cli import actions
from holdfast.cli.errors import UsageError
from holdfast.cli.grammar import APPEND, VERBOSE, Call, Command, Program
from holdfast.cli.hook_screen import HOOK_TABLE, LOG_TABLE, print_execution, print_hook
from holdfast.cli.listing import FORMATS, LIST_OPTIONS, print_document, print_list
from holdfast.cli.locks import LOCK_OPTIONS, lock_level
from holdfast.cli.lookup import find_id, is_id
from holdfast.cli.options import Option
from holdfast.cli.template_input import new_template
from holdfast.cli.units import epoch_s
from holdfast.cli.xmltree import parse

_DRY = Option("dry", description="print the template instead of creating the hook")
_LOG_OPTIONS = (
    Option("error", description="only runs that failed"),
    Option("success", description="only runs that succeeded"),
    Option("hook-id", argument="N", description="only runs of this hook"),
    Option("since", argument="TIME", description="only later runs, such as '2026-11-22 08:00'"),
    Option("until", argument="TIME", description="only earlier runs"),
)
_EXECUTION = Option("execution", "e", "N", "tell everything about one run of the hook")


def _create(call: Call) -> int:
    text = new_template(call, call.argument(0), (), "")
    if call.values.switch("dry"):
        print(text)
        return 0
    print(f"ID: {call.client.identifier('one.hook.allocate', text)}")
    return 0


def _delete(call: Call) -> int:
    return actions.for_each(call, "HOOK", "deleting", lambda hook: call.client.identifier("one.hook.delete", hook))


def _update(call: Call) -> int:
    return actions.update(call, "HOOK", "one.hook")


def _rename(call: Call) -> int:
    return actions.rename(call, "HOOK", "one.hook")


def _lock(call: Call) -> int:
    level = lock_level(call)
    return actions.for_each(
        call, "HOOK", "locking", lambda hook: call.client.identifier("one.hook.lock", hook, level, False)
    )


def _unlock(call: Call) -> int:
    return actions.for_each(call, "HOOK", "unlocking", lambda hook: call.client.identifier("one.hook.unlock", hook))


def _retry(call: Call) -> int:
    execution = call.arguments[1]
    if not is_id(execution):
        raise UsageError(f"A run of a hook is named by its number, not '{execution}'; 'onehook log' shows them.")
    return actions.for_one(
        call, "HOOK", "retrying", lambda hook: call.client.identifier("one.hook.retry", hook, int(execution))
    )


def _list(call: Call) -> int:
    return print_list(lambda: call.client.text("one.hookpool.info", -1, -1, -1), "HOOK", HOOK_TABLE, call.values)


def _show(call: Call) -> int:
    execution = call.values.number("execution")
    text = call.client.text("one.hook.info", find_id(call.client, "HOOK", call.arguments[0]))
    if execution is not None:
        print_execution(parse(text, "The server"), execution)
    elif not print_document(text, call.values):
        print_hook(parse(text, "The server"))
    return 0


def _log(call: Call) -> int:
    values = call.values
    if values.switch("error") and values.switch("success"):
        raise UsageError("--error and --success exclude each other.")
    result = int(values.switch("success")) - int(values.switch("error"))
    since, until = (_moment(values.text(name), name) for name in ("since", "until"))
    hook_id = values.number("hook-id")

    def fetch() -> str:
        return call.client.text("one.hooklog.info", since, until, -1 if hook_id is None else hook_id, result)

    return print_list(fetch, "HOOK_EXECUTION_RECORD", LOG_TABLE, values)


def _moment(text: str | None, option: str) -> int:
    return -1 if text is None else epoch_s(text, f"--{option}")


_HOOKS = "<range|hookid_list>"

PROGRAM = Program(
    "onehook",
    "manages hooks: commands that run when something happens",
    (
        Command("create", ("[<file>]",), "create a hook from a template", _create, (_DRY,)),
        Command("delete", (_HOOKS,), "remove hooks and their log", _delete),
        Command("update", ("<hookid>", "[<file>]"), "change the attributes of a hook", _update, (APPEND,)),
        Command("rename", ("<hookid>", "<name>"), "give a hook another name", _rename),
        Command("list", ("[<filterflag>]",), "list the hooks", _list, LIST_OPTIONS),
        Command("show", ("<hookid>",), "tell everything about a hook", _show, (*FORMATS, _EXECUTION)),
        Command("log", (), "list the runs of hooks", _log, (*_LOG_OPTIONS, *LIST_OPTIONS)),
        Command("retry", ("<hookid>", "<execid>"), "run a hook again as it was run then", _retry),
        Command("lock", (_HOOKS,), "protect hooks from changes", _lock, LOCK_OPTIONS),
        Command("unlock", (_HOOKS,), "take that back", _unlock),
    ),
    (VERBOSE,),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``onehook``."""
    return PROGRAM.main(argv)


if __name__ == "__main__":
    sys.exit(main())
