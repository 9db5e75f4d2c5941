"""A method as data: its name, the arguments it declares with types and defaults, and what answers it.

Parameters are written ``"oid:int enforce:bool=false text:string="``.  A type is ``int``, ``bool``, ``string`` or
``append`` (an int that is 0 for replace and 1 for merge).  Arguments beyond the declared ones are ignored, missing ones
take their default, and a wrong type or a missing argument without default is a fault.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.api.ports import Controller
from holdfast.api.views import Views
from holdfast.api.xmlrpc import TYPE_ERROR, Fault, Value
from holdfast.engine.state import State
from holdfast.model.errors import ArgumentError
from holdfast.model.user import Actor

Result = int | str | Sequence[bytes]
"""An id, a text, or a document in escaped pieces."""


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """What the owner of the API may choose; the patience limits how long a caller waits for the engine."""

    endpoint: str = "http://localhost:2633/RPC2"
    patience_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Call:
    """What a method has at hand besides its arguments."""

    controller: Controller
    views: Views
    actor: Actor
    settings: ApiSettings

    @property
    def state(self) -> State:
        """All committed objects."""
        return self.controller.state


Handler = Callable[..., Awaitable[Result]]


@dataclass(frozen=True, slots=True)
class Param:
    """One declared argument; ``default`` is None when it must be given."""

    name: str
    type: str
    default: bool | int | str | None = None

    def accept(self, value: Value) -> Any:
        """The argument as the handler takes it."""
        if type(value) is not _PYTHON_TYPES[self.type]:
            raise Fault(TYPE_ERROR, f"Parameter {self.name} must be {_SPOKEN[self.type]}, not {_name_of(value)}")
        if type(value) is int and not -(2**31) <= value < 2**31:
            raise Fault(TYPE_ERROR, f"Parameter {self.name} must be a 32-bit number, not {value}")
        return _append(value) if self.type == "append" else value


_PYTHON_TYPES: dict[str, type] = {"int": int, "append": int, "bool": bool, "string": str}
_SPOKEN = {"int": "an int", "append": "an int", "bool": "a boolean", "string": "a string"}
_WIRE = {"int": "i", "append": "i", "bool": "b", "string": "s"}


def _name_of(value: Value) -> str:
    names = {bool: "a boolean", int: "an int", str: "a string", list: "an array"}
    return names.get(type(value), "a value of another type")


def _append(value: Value) -> bool:
    if value not in (0, 1):
        raise ArgumentError(f"Wrong update type {value}: 0 replaces the template, 1 merges into it")
    return value == 1


@dataclass(frozen=True, slots=True)
class Method:
    """A method of the API; the session is its first argument and not among ``params``."""

    name: str
    params: tuple[Param, ...]
    handler: Handler
    returns: str
    help: str

    def arguments(self, values: Sequence[Value]) -> list[Any]:
        """The declared arguments out of what came after the session; raises Fault."""
        given = [param.accept(value) for param, value in zip(self.params, values, strict=False)]
        for param in self.params[len(given) :]:
            if param.default is None:
                raise Fault(TYPE_ERROR, f"Not enough parameters: {self.name} needs {param.name}")
            given.append(param.default)
        return given

    @property
    def signature(self) -> str:
        """Types in the notation of XML-RPC introspection: array out of string (session), …"""
        return "A:s" + "".join(_WIRE[param.type] for param in self.params)


def params(spec: str) -> tuple[Param, ...]:
    """The parameters that ``spec`` describes."""
    return tuple(_param(word) for word in spec.split())


def _param(word: str) -> Param:
    declared, has_default, default = word.partition("=")
    name, _, kind = declared.partition(":")
    return Param(name, kind, _default(kind, default) if has_default else None)


def _default(kind: str, text: str) -> bool | int | str:
    if kind == "string":
        return text
    if kind == "int":
        return int(text)
    return text in ("true", "1")
