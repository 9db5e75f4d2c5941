"""A program is a table of commands; this is how its command line is understood and run.

OpenNebula's rules: the command comes first (otherwise the whole help is printed, exit code 0); arguments are counted
before anything else happens; every failure is a message on standard error and exit code 255.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from holdfast.cli import usage
from holdfast.cli.errors import FAILURE, CliError, UsageError
from holdfast.cli.options import Option, Values, parse_options
from holdfast.cli.output import discard

if TYPE_CHECKING:
    from holdfast.cli.rpc import Client

INTERRUPTED = 130

HELP = Option("help", "h", description="this help")
VERSION = Option("version", "V", description="the version")
CONNECTION = (
    Option("user", argument="NAME", description="act as this user"),
    Option("password", argument="PASSWORD", description="their password (asked for when left out)"),
    Option("endpoint", argument="URL", description="the server, such as http://localhost:2633/RPC2"),
)
VERBOSE = Option("verbose", "v", description="say what is done to each object")
APPEND = Option("append", "a", description="add to the template instead of replacing it")


@dataclass(frozen=True, slots=True)
class Command:
    """One row of the table.  ``arguments`` are labels; those in brackets may be left out."""

    name: str
    arguments: tuple[str, ...]
    summary: str
    run: Callable[[Call], int]
    options: tuple[Option, ...] = ()

    @property
    def required(self) -> int:
        """How many arguments must be there."""
        return sum(not label.startswith("[") for label in self.arguments)


@dataclass(frozen=True, slots=True)
class Program:
    """A command such as ``onehost`` with everything it can do; ``options`` hold for each of its commands."""

    name: str
    summary: str
    commands: tuple[Command, ...]
    options: tuple[Option, ...] = ()

    def main(self, argv: Sequence[str] | None = None) -> int:
        """Runs one command line and returns the exit code."""
        try:
            code = _run(self, list(sys.argv[1:] if argv is None else argv))
            sys.stdout.flush()
        except BrokenPipeError:
            discard()
            return 0
        except KeyboardInterrupt:
            print("Interrupted.", file=sys.stderr)
            return INTERRUPTED
        return code

    def options_of(self, command: Command) -> tuple[Option, ...]:
        """Everything that ``command`` accepts; its own options come first and shadow short letters."""
        return (*command.options, *self.options, *CONNECTION, HELP, VERSION)


@dataclass
class Call:
    """One run of a command: what was given, and the client (connected to on first use)."""

    program: Program
    command: Command
    arguments: list[str]
    values: Values = field(default_factory=Values)

    @cached_property
    def client(self) -> Client:
        """The server, as the user whom options, environment and files name."""
        from holdfast.cli.connection import environment, find_connection
        from holdfast.cli.rpc import Client

        get = self.values.text
        return Client(find_connection(environment(), get("endpoint"), get("user"), get("password")))

    def argument(self, index: int) -> str | None:
        """An argument that may have been left out."""
        return self.arguments[index] if index < len(self.arguments) else None

    def say(self, text: str) -> None:
        """Prints ``text`` when ``--verbose`` was given."""
        if self.values.switch("verbose"):
            print(text)


def _run(program: Program, argv: list[str]) -> int:
    command, rest = _find_command(program, argv)
    if command is None:
        return _print_general(program, argv)
    try:
        values, arguments = parse_options(rest, program.options_of(command))
        if values.switch("help"):
            print(usage.command_help(program, command))
            return 0
        if values.switch("version"):
            print(usage.version())
            return 0
        _check_count(command, arguments)
        return command.run(Call(program, command, arguments, values))
    except CliError as error:
        print(error, file=sys.stderr)
        if isinstance(error, UsageError) and error.with_help:
            print(usage.command_help(program, command))
        return FAILURE


def _find_command(program: Program, argv: list[str]) -> tuple[Command | None, list[str]]:
    for words in (2, 1):
        name = " ".join(argv[:words])
        found = next((command for command in program.commands if command.name == name), None)
        if found is not None:
            return found, argv[words:]
    return None, argv


def _print_general(program: Program, argv: list[str]) -> int:
    if argv and argv[0] in ("-V", "--version"):
        print(usage.version())
        return 0
    group = argv[0] + " " if argv else ""
    in_group = tuple(command for command in program.commands if group and command.name.startswith(group))
    print(usage.program_help(program, in_group or program.commands))
    return 0


def _check_count(command: Command, arguments: list[str]) -> None:
    if len(arguments) < command.required:
        count = "one parameter" if command.required == 1 else f"{command.required} parameters"
        stop = "" if command.required == 1 else "."
        raise UsageError(f"Command {command.name} requires {count} to run{stop}", with_help=True)
    if len(arguments) > len(command.arguments):
        wanted = " ".join(command.arguments) or "none"
        raise UsageError(f"Wrong number of arguments\nThe arguments should be: {wanted}")
