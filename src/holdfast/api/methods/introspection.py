"""``system.listMethods``, ``system.methodHelp`` and ``system.methodSignature``: bare answers that need no session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from holdfast.api.methods.method import Method
from holdfast.api.xmlrpc import NO_SUCH_METHOD, TYPE_ERROR, Fault, Value

_TYPES = {"A": "array", "i": "int", "b": "boolean", "s": "string"}
_SYSTEM = {
    "system.listMethods": ("A:", "Lists the methods of this server."),
    "system.methodHelp": ("s:s", "Says what a method does."),
    "system.methodSignature": ("A:s", "The types of a method's result and arguments."),
}
_NAMED = {"system.methodHelp", "system.methodSignature"}

Answer = str | Sequence[str] | Sequence[Sequence[str]]


def is_system(method: str) -> bool:
    """The name is one of the introspection methods."""
    return method in _SYSTEM


def answer(method: str, arguments: Sequence[Value], registry: Mapping[str, Method]) -> Answer:
    """What the introspection method says; raises Fault."""
    if method not in _NAMED:
        return sorted((*registry, *_SYSTEM))
    if not arguments or not isinstance(arguments[0], str):
        raise Fault(TYPE_ERROR, f"{method} needs the name of a method as a string")
    signature, help_text = _described(arguments[0], registry)
    return help_text if method == "system.methodHelp" else [_types(signature)]


def _described(name: str, registry: Mapping[str, Method]) -> tuple[str, str]:
    if name in registry:
        return registry[name].signature, registry[name].help
    if name in _SYSTEM:
        return _SYSTEM[name]
    raise Fault(NO_SUCH_METHOD, f"Method '{name}' not defined")


def _types(signature: str) -> list[str]:
    return [_TYPES[letter] for letter in signature if letter != ":"]
