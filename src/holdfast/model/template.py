"""The template: OpenNebula's list of attributes, single (``CPU=1``) or vector (``DISK=[IMAGE_ID=3]``).

Names are upper case and may repeat.  A template is an immutable value; every change makes a new one.
Reading text is in :mod:`holdfast.model.template_text`, reading XML in :mod:`holdfast.model.template_xml`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from sys import intern
from typing import Union

from holdfast.model.errors import TemplateError

Vector = Mapping[str, str]
Value = Union[str, "Section"]


class Section(dict[str, str]):
    """The attributes of a vector value, by upper-case name.  Treat as immutable."""

    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self.items()))


class Template:
    """An ordered, immutable list of (name, value) pairs."""

    __slots__ = ("_first", "pairs")

    def __init__(self, pairs: Iterable[tuple[str, str | Mapping[str, str]]] = ()) -> None:
        self.pairs: tuple[tuple[str, Value], ...] = tuple(
            (intern(name.upper()), _value(value)) for name, value in pairs
        )
        self._first: dict[str, Value] = {}
        for name, value in self.pairs:
            self._first.setdefault(name, value)

    def get(self, name: str, default: str = "") -> str:
        """The first single value called ``name``."""
        value = self._first.get(name, default)
        return value if isinstance(value, str) else default

    def section(self, name: str) -> Section:
        """The first vector value called ``name``, empty when there is none."""
        value = self._first.get(name)
        return value if isinstance(value, Section) else Section()

    def sections(self, name: str) -> tuple[Section, ...]:
        """All vector values called ``name``, in order."""
        return tuple(value for key, value in self.pairs if key == name and isinstance(value, Section))

    def get_float(self, name: str, default: float) -> float:
        """The value as a number; raises TemplateError naming the attribute when it is not one."""
        return self._number(name, default, float)

    def get_int(self, name: str, default: int) -> int:
        """The value as a whole number; raises TemplateError naming the attribute when it is not one."""
        return int(self._number(name, default, int))

    def _number(self, name: str, default: float, convert: type[int] | type[float]) -> float:
        text = self.get(name)
        if not text:
            return default
        try:
            number = convert(text)
            if isfinite(number):
                return number
        except (ValueError, OverflowError):
            pass
        kind = "a whole number" if convert is int else "a number"
        raise TemplateError(f'Attribute {name} must be {kind}, it is "{text}".')

    def flag(self, name: str, default: bool = False) -> bool:
        """YES (any case) is true, anything else false."""
        text = self.get(name)
        return text.upper() == "YES" if text else default

    def singles(self) -> dict[str, str]:
        """The single values by name, the first of each."""
        return {name: value for name, value in self._first.items() if isinstance(value, str)}

    def with_values(self, **values: str | Mapping[str, str]) -> Template:
        """A copy in which each named attribute has exactly this value, in its old place if it had one."""
        return self.replaced(values)

    def replaced(self, values: Mapping[str, str | Mapping[str, str]]) -> Template:
        """As :meth:`with_values`, for names that are not Python identifiers."""
        wanted = {name.upper(): value for name, value in values.items()}
        kept: list[tuple[str, str | Mapping[str, str]]] = []
        placed: set[str] = set()
        for name, value in self.pairs:
            if name not in wanted:
                kept.append((name, value))
            elif name not in placed:
                placed.add(name)
                kept.append((name, wanted[name]))
        kept.extend((name, value) for name, value in wanted.items() if name not in placed)
        return Template(kept)

    def without(self, *names: str) -> Template:
        """A copy that lacks all attributes with these names."""
        dropped = {name.upper() for name in names}
        return Template((name, value) for name, value in self.pairs if name not in dropped)

    def merged(self, other: Template) -> Template:
        """OpenNebula's append update: every name in ``other`` replaces all attributes of that name."""
        return Template((*self.without(*other.names()).pairs, *other.pairs))

    def extended(self, pairs: Iterable[tuple[str, str | Mapping[str, str]]]) -> Template:
        """A copy with more attributes at the end."""
        return Template((*self.pairs, *pairs))

    def with_sections(self, name: str, sections: Iterable[Mapping[str, str]]) -> Template:
        """A copy whose vector values called ``name`` are exactly these."""
        return self.without(name).extended((name, section) for section in sections)

    def names(self) -> set[str]:
        """The names that occur."""
        return set(self._first)

    def __contains__(self, name: str) -> bool:
        return name in self._first

    def __iter__(self) -> Iterator[tuple[str, Value]]:
        return iter(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Template) and self.pairs == other.pairs

    def __hash__(self) -> int:
        return hash(self.pairs)

    def __repr__(self) -> str:
        return f"Template({list(self.pairs)!r})"


def _value(value: str | Mapping[str, str]) -> Value:
    if isinstance(value, str | Section):
        return value
    return Section((intern(name.upper()), text) for name, text in value.items())


EMPTY = Template()
