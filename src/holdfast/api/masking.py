"""Secrets in templates: hidden in every reply, and put back when a client sends its masked copy.

Clients edit a template by reading it, changing a line and writing all of it back.  What they read shows ``********``
in place of a secret, so an update restores the stored value wherever it still holds the mask; a mask with nothing
behind it is refused, because storing it would lose the secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from holdfast.model.errors import ArgumentError, TemplateError
from holdfast.model.secret_names import is_secret
from holdfast.model.template import Section, Template
from holdfast.model.template_text import parse_any, write_text

MASK = "********"


def masked(template: Template) -> Template:
    """The template with every secret hidden; the same object when it has none."""
    if not any(_holds_secret(name, value) for name, value in template):
        return template
    return Template((name, _hidden(name, value)) for name, value in template)


def _holds_secret(name: str, value: str | Section) -> bool:
    return is_secret(name) if isinstance(value, str) else any(map(is_secret, value))


def _hidden(name: str, value: str | Section) -> str | Section:
    if isinstance(value, str):
        return MASK if is_secret(name) else value
    return Section((key, MASK if is_secret(key) else text) for key, text in value.items())


def restored(text: str, stored: Template) -> str:
    """The template text of an update with the stored secrets in place of masks."""
    if MASK not in text:
        return text
    try:
        sent = parse_any(text)
    except TemplateError:
        return text  # the engine refuses it and says where it is wrong
    seen: dict[str, int] = {}
    pairs: list[tuple[str, str | Mapping[str, str]]] = []
    for name, value in sent:
        index = seen[name] = seen.get(name, -1) + 1
        if isinstance(value, str):
            pairs.append((name, _single(name, value, stored)))
        else:
            pairs.append((name, _vector(name, value, stored.sections(name), index)))
    return write_text(Template(pairs))


def _single(name: str, value: str, stored: Template) -> str:
    if value != MASK or not is_secret(name):
        return value
    return _known(name, stored.get(name))


def _vector(name: str, sent: Section, stored: Sequence[Section], index: int) -> Section:
    hidden = [key for key, text in sent.items() if text == MASK and is_secret(key)]
    if not hidden:
        return sent
    source = _counterpart(sent, stored, index)
    return Section((key, _known(f"{name}/{key}", source.get(key, "")) if key in hidden else sent[key]) for key in sent)


def _counterpart(sent: Section, stored: Sequence[Section], index: int) -> Section:
    """The stored vector that ``sent`` is a copy of: equal but for secrets, else the one in the same place."""
    plain = _plain(sent)
    for candidate in stored:
        if _plain(candidate) == plain:
            return candidate
    return stored[index] if index < len(stored) else Section()


def _plain(section: Section) -> dict[str, str]:
    return {key: text for key, text in section.items() if not is_secret(key)}


def _known(name: str, value: str) -> str:
    if not value:
        raise ArgumentError(f'{name} is "{MASK}", which stands for a stored value, but none is stored: write it out')
    return value
