"""The pieces of a ``show`` screen: section headers, label lines, template attributes, permissions, small tables."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from xml.etree.ElementTree import Element

from holdfast.cli.table import Column, View, cells_of, render
from holdfast.cli.terminal import PAGE_WIDTH, harmless, harmless_lines, heading
from holdfast.cli.xmltree import text_of


def section(title: str) -> list[str]:
    """A section header."""
    return [heading(f"{title:<{PAGE_WIDTH}}")]


def labels(pairs: Iterable[tuple[str, object]], label_width: int, value_width: int = 20) -> list[str]:
    """Lines ``LABEL : value``."""
    return [f"{label:<{label_width}}: {harmless(str(value)):<{value_width}}" for label, value in pairs]


def attributes(template: Element | None, without: Sequence[str] = ()) -> list[str]:
    """A template as ``NAME="value"`` lines."""
    if template is None:
        return []
    return [line for child in template if child.tag not in without for line in _attribute(child)]


def permissions(element: Element, label_width: int) -> list[str]:
    """The section with the nine permission bits."""
    pairs = [(who, _bits(element, who)) for who in ("OWNER", "GROUP", "OTHER")]
    return [*section("PERMISSIONS"), *labels(pairs, label_width, 0)]


def small_table(
    columns: Sequence[Column], rows: Sequence[Element], view: View | None = None, width: int | None = None
) -> list[str]:
    """A table inside a screen; a column with ``expand`` takes what the others leave of ``width``."""
    return render(columns, cells_of(columns, rows, view or View()), width)


def paragraph(text: str, indent: str = "", hanging: str | None = None) -> list[str]:
    """Running text within the page; ``hanging`` indents all lines but the first, when that differs."""
    rest = indent if hanging is None else hanging
    return textwrap.wrap(
        harmless(text), PAGE_WIDTH, initial_indent=indent, subsequent_indent=rest, break_on_hyphens=False
    )


def print_screen(*parts: Sequence[str]) -> None:
    """Prints the parts that are not empty, a blank line between them."""
    print("\n\n".join("\n".join(part) for part in parts if part))


def _attribute(element: Element) -> list[str]:
    if len(element) == 0:
        return [f"{element.tag}={_quoted(element.text or '')}"]
    inner = ",\n".join(f"  {child.tag}={_quoted(child.text or '')}" for child in element)
    return f"{element.tag}=[\n{inner} ]".split("\n")


def _quoted(text: str) -> str:
    escaped = harmless_lines(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _bits(element: Element, who: str) -> str:
    letters = (("U", "u"), ("M", "m"), ("A", "a"))
    return "".join(letter if text_of(element, f"PERMISSIONS/{who}_{bit}") == "1" else "-" for bit, letter in letters)
