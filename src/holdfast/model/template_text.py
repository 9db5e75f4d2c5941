"""Reads and writes OpenNebula's template text: ``NAME = value``, ``NAME = [ A = b, C = "d" ]``, ``# comment``.

Values are bare up to the end of the line (in a vector up to ``,`` or ``]``) or in double quotes, where ``\\"`` is a
quote and ``\\\\`` a backslash, and where lines may break.  Every refusal names line and column.
"""

from __future__ import annotations

import re

from holdfast.model.errors import TemplateError
from holdfast.model.template import Section, Template

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_\-.]*")
_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_SPACES = re.compile(r"[ \t]*")
_BARE = re.compile(r"[^\n]*")
_BARE_IN_VECTOR = re.compile(r"[^,\]\n\"]*")
_ESCAPE = re.compile(r'\\(["\\])')


def parse_text(text: str) -> Template:
    """The template that ``text`` describes; raises TemplateError with line and column."""
    return _Reader(text).template()


def parse_any(text: str) -> Template:
    """Template text, or XML when it begins with ``<`` (clients send both)."""
    if text.lstrip().startswith("<"):
        from holdfast.model.template_xml import parse_xml

        return parse_xml(text)
    return parse_text(text)


def write_text(template: Template) -> str:
    """The template as text that :func:`parse_text` reads back to the same value."""
    lines = []
    for name, value in template:
        if isinstance(value, str):
            lines.append(f"{name}={_quoted(value)}")
        else:
            inner = ",\n".join(f"  {key}={_quoted(text)}" for key, text in value.items())
            lines.append(f"{name}=[\n{inner} ]")
    return "\n".join(lines)


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def template(self) -> Template:
        pairs: list[tuple[str, str | Section]] = []
        self._skip(_BLANK)
        while self.at < len(self.text):
            name = self._name()
            self._expect_equals(name)
            pairs.append((name, self._vector(name) if self._peek() == "[" else self._single(_BARE)))
            self._skip(_BLANK)
        return Template(pairs)

    def _name(self) -> str:
        match = _NAME.match(self.text, self.at)
        if not match:
            raise self._refusal(f"expected an attribute name, found {self._found()}")
        self.at = match.end()
        return match.group().upper()

    def _expect_equals(self, name: str) -> None:
        self._skip(_SPACES)
        if self._peek() != "=":
            raise self._refusal(f"expected '=' after {name}, found {self._found()}")
        self.at += 1
        self._skip(_SPACES)

    def _vector(self, name: str) -> Section:
        opened = self.at
        self.at += 1
        section: Section = Section()
        while True:
            self._skip(_BLANK)
            if self._peek() == "]":
                self.at += 1
                return section
            if self.at >= len(self.text):
                self.at = opened
                raise self._refusal(f"the '[' of {name} is never closed")
            key = self._name()
            self._expect_equals(key)
            section[key] = self._single(_BARE_IN_VECTOR)
            self._skip(_BLANK)
            if self._peek() == ",":
                self.at += 1
            elif self._peek() != "]":
                if self.at >= len(self.text):
                    continue
                raise self._refusal(f"expected ',' or ']' in {name}, found {self._found()}")

    def _single(self, bare: re.Pattern[str]) -> str:
        if self._peek() == '"':
            return self._quoted()
        match = bare.match(self.text, self.at)
        assert match is not None
        self.at = match.end()
        return match.group().strip()

    def _quoted(self) -> str:
        opened = self.at
        end = self.at + 1
        while end < len(self.text) and self.text[end] != '"':
            end += 2 if self.text[end] == "\\" else 1
        if end >= len(self.text):
            self.at = opened
            raise self._refusal("this '\"' is never closed")
        self.at = end + 1
        return _ESCAPE.sub(r"\1", self.text[opened + 1 : end])

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.at)
        if match:
            self.at = match.end()

    def _found(self) -> str:
        return repr(self._peek()) if self.at < len(self.text) else "the end of the text"

    def _refusal(self, what: str) -> TemplateError:
        line = self.text.count("\n", 0, self.at) + 1
        column = self.at - (self.text.rfind("\n", 0, self.at) + 1) + 1
        return TemplateError(f"Cannot parse template at line {line}, column {column}: {what}.")
