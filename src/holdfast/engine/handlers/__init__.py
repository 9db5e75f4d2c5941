"""One module for each kind of object: what the users' commands do to it.

Each module offers ``HANDLERS``, a table from command class to function ``(work, command) -> object id``.
"""

from collections.abc import Callable
from typing import Any

from holdfast.engine.commands import Command
from holdfast.engine.work import Work

Handlers = dict[type[Command], Callable[[Work, Any], int]]
