"""What every family of commands needs: act on each object of a list, update, rename."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

from holdfast.cli.errors import FAILURE, ApiError, UsageError
from holdfast.cli.grammar import Call
from holdfast.cli.lookup import find_id, find_ids, is_range
from holdfast.cli.template_input import changed_template


def for_each(call: Call, kind: str, doing: str, action: Callable[[int], object]) -> int:
    """Acts on every object that the first argument names; a refusal is told and the rest still tried."""
    code = 0
    ids = find_ids(call.client, kind, call.arguments[0])
    for object_id in ids:
        call.say(f"{kind} {object_id}: {doing}")
        try:
            action(object_id)
        except ApiError as error:
            print(str(error) if len(ids) == 1 else _attributed(str(error), kind, object_id), file=sys.stderr)
            code = FAILURE
    return code


def _attributed(message: str, kind: str, object_id: int) -> str:
    """The server's words, with the object before them where they leave open whom of several they are about."""
    named = re.search(rf"\[{object_id}\]|\b{kind} {object_id}\b", message, re.IGNORECASE)
    return message if named else f"{kind} {object_id}: {message}"


def for_one(call: Call, kind: str, doing: str, action: Callable[[int], object]) -> int:
    """Acts on the one object that the first argument names."""
    object_id = _one_id(call, kind)
    call.say(f"{kind} {object_id}: {doing}")
    action(object_id)
    return 0


def _one_id(call: Call, kind: str) -> int:
    named = call.arguments[0]
    if is_range(named):
        count = len(find_ids(call.client, kind, named))
        raise UsageError(f"{call.command.name} takes one {kind}, {named} names {count}.")
    return find_id(call.client, kind, named)


def update(call: Call, kind: str, method: str, part: str = "TEMPLATE") -> int:
    """``update <id> [file] [--append]``: replaces or extends the object's template."""
    object_id = _one_id(call, kind)
    text = changed_template(
        call, call.argument(1), lambda: call.client.document(f"{method}.info", object_id).find(part)
    )
    if text is None:
        print("Nothing was changed.", file=sys.stderr)
        return 0
    call.client.identifier(f"{method}.update", object_id, text, int(call.values.switch("append")))
    return 0


def rename(call: Call, kind: str, method: str) -> int:
    """``rename <id> <name>``."""
    return for_one(
        call,
        kind,
        "renaming",
        lambda object_id: call.client.identifier(f"{method}.rename", object_id, call.arguments[1]),
    )
