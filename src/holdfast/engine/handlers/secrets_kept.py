"""Secrets in templates: replies show a mask, and an update that sends the mask back keeps the secret."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.model.template import Section, Template

MASK = "********"


def with_secrets_of(old: Template, new: Template) -> Template:
    """``new``, with every masked value replaced by what ``old`` holds under the same name."""
    if all(MASK not in (value if isinstance(value, str) else value.values()) for _, value in new):
        return new
    nth: dict[str, int] = {}
    pairs: list[tuple[str, str | Mapping[str, str]]] = []
    for name, value in new:
        index = nth[name] = nth.get(name, -1) + 1
        pairs.append((name, _unmasked(old, name, index, value)))
    return Template(pairs)


def _unmasked(old: Template, name: str, index: int, value: str | Section) -> str | Mapping[str, str]:
    if isinstance(value, str):
        return old.get(name) if value == MASK else value
    before = old.sections(name)
    known = before[index] if index < len(before) else Section()
    return {key: known.get(key, "") if text == MASK else text for key, text in value.items()}
