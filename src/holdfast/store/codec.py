"""Model objects as compact JSON text, and back.

How a class is written follows from its type hints: an object per dataclass, a list per tuple, the value of an
enumeration's member, ``[name, value]`` pairs for a template.  A field that has its default value is left out, so that
a field added later needs only a default for old stores to be readable; hence a default, once released, is part of the
format.  What this version does not know (a field, a member of an enumeration) is refused rather than dropped: to drop
it would be to lose what a newer version decided.

Each class is compiled once, at its first use, into closures that look at no type hint any more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum, IntEnum
from functools import cache
from operator import attrgetter
from sys import intern
from typing import Any, NamedTuple, TypeVar, cast, get_args, get_origin, get_type_hints

from holdfast.model.errors import StoreError
from holdfast.model.template import Section, Template

T = TypeVar("T")
Convert = Callable[[Any], Any]

_to_text = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_from_text = json.JSONDecoder().decode


def encode(stored: object) -> str:
    """The object's text; raises StoreError when its class has no form here."""
    kind: Any = type(stored)
    try:
        return _to_text(_record(kind).write(stored))
    except (TypeError, ValueError) as error:
        raise StoreError(f"A {kind.__name__} cannot be stored: {error}.") from error


def decode(kind: type[T], text: str) -> T:
    """The object of this class that ``text`` holds; raises StoreError naming what cannot be read."""
    known: Any = kind
    try:
        return cast(T, _record(known).read(_from_text(text)))
    except (TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"{error}.") from error


class _Record(NamedTuple):
    write: Convert
    read: Convert


class _Form(NamedTuple):
    """How a type's values become JSON and come back; None where they are their own JSON."""

    write: Convert | None = None
    read: Convert | None = None


@cache
def _record(kind: type[Any]) -> _Record:
    hints = get_type_hints(kind)
    forms = {field.name: _form(hints[field.name]) for field in fields(kind)}
    return _Record(_writer(kind, forms), _reader(kind, forms))


def _writer(kind: type[Any], forms: Mapping[str, _Form]) -> Convert:
    columns = tuple((field.name, _default(field), forms[field.name].write) for field in fields(kind))
    values_of = attrgetter(*forms)

    def write(record: Any) -> dict[str, Any]:
        written = {}
        for (name, default, convert), value in zip(columns, values_of(record), strict=True):
            if value is not default and value != default:
                written[name] = value if convert is None else convert(value)
        return written

    return write


def _reader(kind: type[Any], forms: Mapping[str, _Form]) -> Convert:
    converted = tuple((name, form.read) for name, form in forms.items() if form.read is not None)

    def read(written: Any) -> Any:
        if type(written) is not dict:
            raise ValueError(f"a {kind.__name__} is written as an object, not {written!r:.60}")
        for name, convert in converted:
            if name in written:
                written[name] = convert(written[name])
        try:
            return kind(**written)
        except TypeError as error:
            raise ValueError(_misfit(kind, written) or str(error)) from error

    return read


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _misfit(kind: type[Any], written: Mapping[str, Any]) -> str:
    known = {field.name for field in fields(kind)}
    required = {field.name for field in fields(kind) if _default(field) is MISSING}
    problems = [f"field {name} of {kind.__name__} is unknown" for name in sorted(written.keys() - known)]
    problems += [f"field {name} of {kind.__name__} is missing" for name in sorted(required - written.keys())]
    return ", ".join(problems)


@cache
def _form(hint: Any) -> _Form:
    if hint in (int, float, str, bool):
        return _Form()
    if hint is Template:
        return _Form(attrgetter("pairs"), _read_template)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _Form(None if issubclass(hint, IntEnum) else attrgetter("_value_"), _member_reader(hint))
    if is_dataclass(hint):
        nested: Any = hint
        return _Form(*_record(nested))
    arguments = get_args(hint)
    if get_origin(hint) is tuple and arguments[1:] == (...,):
        return _tuple_form(_form(arguments[0]))
    if get_origin(hint) is Mapping and arguments == (str, str):
        return _Form(dict, dict)
    raise TypeError(f"the type {hint} has no form in the store")


def _tuple_form(item: _Form) -> _Form:
    write, read = item
    return _Form(
        None if write is None else lambda values: [write(value) for value in values],
        tuple if read is None else lambda written: tuple([read(value) for value in written]),
    )


def _member_reader(kind: type[Enum]) -> Convert:
    members = {member.value: member for member in kind}

    def read(written: Any) -> Enum:
        member = members.get(written)
        if member is None:
            raise ValueError(f"{written!r:.60} is no {kind.__name__}")
        return member

    return read


def _read_template(written: Any) -> Template:
    return Template([(name, value if isinstance(value, str) else _section(value)) for name, value in written])


def _section(written: Mapping[str, str]) -> Section:
    return Section({intern(name): text for name, text in written.items()})
