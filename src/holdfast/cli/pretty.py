"""XML for reading: one element per line, indented by two blanks, CDATA sections kept as they are.

ElementTree forgets where CDATA was, so this listens to the parser itself.  Only documents that
:func:`holdfast.cli.xmltree.parse` has accepted come here.
"""

from __future__ import annotations

from xml.parsers import expat


def indented(text: str) -> str:
    """The document ``text``, indented."""
    printer = _Printer()
    parser = expat.ParserCreate()
    parser.ordered_attributes = True
    parser.StartElementHandler = printer.start
    parser.EndElementHandler = printer.end
    parser.CharacterDataHandler = printer.data
    parser.StartCdataSectionHandler = printer.start_cdata
    parser.EndCdataSectionHandler = printer.end_cdata
    parser.Parse(text, True)
    return "\n".join(printer.lines)


class _Printer:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self._depth = 0
        self._start = ""
        """The start tag that is waiting to be closed, without its ``>``; empty once it has been printed."""
        self._content = ""
        self._in_cdata = False

    def start(self, name: str, attributes: list[str]) -> None:
        self._open_parent()
        pairs = zip(attributes[::2], attributes[1::2], strict=True)
        self._start = f"<{name}" + "".join(f' {key}="{_escape(value)}"' for key, value in pairs)
        self._content = ""
        self._depth += 1

    def end(self, name: str) -> None:
        self._depth -= 1
        indent = "  " * self._depth
        if not self._start:
            self.lines.append(f"{indent}</{name}>")
        elif self._content:
            self.lines.append(f"{indent}{self._start}>{self._content}</{name}>")
        else:
            self.lines.append(f"{indent}{self._start}/>")
        self._start = ""
        self._content = ""

    def data(self, text: str) -> None:
        self._content += text if self._in_cdata else _escape(text)

    def start_cdata(self) -> None:
        self._in_cdata = True
        self._content += "<![CDATA["

    def end_cdata(self) -> None:
        self._in_cdata = False
        self._content += "]]>"

    def _open_parent(self) -> None:
        if self._start:
            self.lines.append("  " * (self._depth - 1) + self._start + ">")
        self._start = ""


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
