"""What can go wrong for a person at the command line.

    CliError            one message on standard error, exit code 255
    ├── UsageError      the command line itself is wrong
    ├── Unreachable     no (usable) answer from the server
    └── ApiError        the server refused; carries OpenNebula's error code

Every message names the input, the rule and the way out.
"""

from __future__ import annotations

FAILURE = 255
"""Exit code of every failure, as in OpenNebula."""


class CliError(Exception):
    """A failure that is told in one message."""


class UsageError(CliError):
    """The command line is wrong; ``with_help`` asks for the command's help on standard output."""

    def __init__(self, message: str, with_help: bool = False) -> None:
        super().__init__(message)
        self.with_help = with_help


class Unreachable(CliError):
    """The server cannot be reached, is too slow or does not speak XML-RPC."""


class ApiError(CliError):
    """The server answered that it will not do it."""

    def __init__(self, message: str, code: int, object_id: int = -1) -> None:
        super().__init__(message)
        self.code = code
        self.object_id = object_id
