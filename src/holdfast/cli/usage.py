"""The help texts, made from the command table, within 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from holdfast.cli.terminal import PAGE_WIDTH, heading

if TYPE_CHECKING:
    from holdfast.cli.grammar import Command, Program
    from holdfast.cli.options import Option

_INDENT = 30


def program_help(program: Program, commands: Sequence[Command]) -> str:
    """What the program is for and a line for each command."""
    lines = [f"{program.name}: {program.summary}", "", f"  {program.name} <command> [<args>] [<options>]", ""]
    lines.append(heading("COMMANDS"))
    for command in commands:
        lines.extend(_entry(" ".join((command.name, *command.arguments)), command.summary))
    lines += ["", f"{program.name} <command> --help tells the options of a command."]
    return "\n".join(lines)


def command_help(program: Program, command: Command) -> str:
    """Synopsis, purpose and options of one command."""
    synopsis = " ".join((program.name, command.name, *command.arguments, "[<options>]"))
    lines = [*textwrap.wrap(synopsis, PAGE_WIDTH, subsequent_indent="    "), f"  {command.summary}"]
    general = program.options_of(command)[len(command.options) :]
    taken = {option.short for option in command.options if option.short}
    for title, options in (("OPTIONS", command.options), ("GENERAL OPTIONS", general)):
        if options:
            lines += ["", heading(title)]
            lines += [line for option in options for line in _option(option, title == "GENERAL OPTIONS", taken)]
    return "\n".join(lines)


def version() -> str:
    """Name and version of the installed package."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of

    try:
        return f"Holdfast {version_of('holdfast')}"
    except PackageNotFoundError:
        return "Holdfast (not installed as a package)"


def _option(option: Option, general: bool, taken: set[str]) -> list[str]:
    shadowed = general and option.short in taken
    spelling = option.spelling.partition(", ")[2] if shadowed else option.spelling
    return _entry(spelling, option.description)


def _entry(term: str, description: str) -> list[str]:
    wrapped = textwrap.wrap(description, PAGE_WIDTH - _INDENT)
    first = f"  {term}"
    if len(first) >= _INDENT:
        return [first, *(" " * _INDENT + line for line in wrapped)]
    padded = [" " * _INDENT + line for line in wrapped[1:]]
    return [f"{first:<{_INDENT}}{wrapped[0] if wrapped else ''}".rstrip(), *padded]
