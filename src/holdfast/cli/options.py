"""Options of a command line: ``-p 5``, ``-p5``, ``--pause 5``, ``--pause=5``, ``--pa 5``, ``-fu``, ``--`` ends them.

They may stand anywhere between the arguments.  Nothing here knows a command; :mod:`holdfast.cli.grammar` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from holdfast.cli.errors import UsageError


@dataclass(frozen=True, slots=True)
class Option:
    """A switch, or with ``argument`` an option that takes a value (in brackets: a value that may be left out)."""

    long: str
    short: str = ""
    argument: str = ""
    description: str = ""

    @property
    def spelling(self) -> str:
        """As the help shows it: ``-p, --pause N``."""
        short = f"-{self.short}, " if self.short else ""
        return f"{short}--{self.long} {self.argument}".rstrip()

    @property
    def value_is_optional(self) -> bool:
        """It may stand alone or take a value."""
        return self.argument.startswith("[")


@dataclass(slots=True)
class Values:
    """What was given, by long name.  A switch has the value ""; the last of several wins."""

    given: dict[str, str] = field(default_factory=dict)

    def switch(self, name: str) -> bool:
        """Whether the switch was given."""
        return name in self.given

    def text(self, name: str) -> str | None:
        """The option's value, or None when it was not given."""
        return self.given.get(name)

    def number(self, name: str) -> int | None:
        """The option's value as a whole number of at least 0."""
        text = self.given.get(name)
        if text is None:
            return None
        if not (text.isascii() and text.isdigit()):
            raise UsageError(f"--{name} must be a whole number of at least 0, it is '{text}'.")
        return int(text)

    def items(self, name: str) -> list[str]:
        """The option's value as a comma-separated list."""
        return [item.strip() for item in (self.given.get(name) or "").split(",") if item.strip()]

    def last_of(self, *names: str) -> str | None:
        """The one of ``names`` that was given last."""
        return next((name for name in reversed(self.given) if name in names), None)

    def put(self, name: str, value: str) -> None:
        """Records an option as the latest."""
        self.given.pop(name, None)
        self.given[name] = value


def parse_options(words: Sequence[str], options: Sequence[Option]) -> tuple[Values, list[str]]:
    """Splits ``words`` into option values and arguments; raises UsageError for an option that is not known."""
    values, arguments = Values(), []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            arguments.extend(rest)
            break
        if word.startswith("--"):
            _parse_long(word[2:], rest, options, values)
        elif word.startswith("-") and len(word) > 1:
            _parse_short(word[1:], rest, options, values)
        else:
            arguments.append(word)
    return values, arguments


def _parse_long(word: str, rest: list[str], options: Sequence[Option], values: Values) -> None:
    name, equals, attached = word.partition("=")
    option = _named(name, options)
    if option.argument:
        values.put(option.long, attached if equals else _value(option, f"--{option.long}", rest))
    elif equals:
        raise UsageError(f"--{option.long} takes no value.")
    else:
        values.put(option.long, "")


def _parse_short(letters: str, rest: list[str], options: Sequence[Option], values: Values) -> None:
    while letters:
        letter, letters = letters[0], letters[1:]
        option = next((option for option in options if option.short == letter), None)
        if option is None:
            raise UsageError(f"invalid option: -{letter}")
        if option.argument:
            values.put(option.long, letters or _value(option, f"-{letter}", rest))
            return
        values.put(option.long, "")


def _named(name: str, options: Sequence[Option]) -> Option:
    exact = [option for option in options if option.long == name]
    found = exact or [option for option in options if name and option.long.startswith(name)]
    if not found:
        raise UsageError(f"invalid option: --{name}")
    if len(found) > 1:
        raise UsageError(f"ambiguous option: --{name} ({', '.join('--' + option.long for option in found)})")
    return found[0]


def _value(option: Option, spelled: str, rest: list[str]) -> str:
    if rest and not (option.value_is_optional and rest[0].startswith("-")):
        return rest.pop(0)
    if option.value_is_optional:
        return ""
    raise UsageError(f"missing argument: {spelled} {option.argument}")
