"""Reads templates sent as XML (``<TEMPLATE><CPU>1</CPU><DISK>…</DISK></TEMPLATE>``) and writes them as OpenNebula does.

Entities and document types are refused; text is wrapped in CDATA on the way out.
"""

from __future__ import annotations

from lxml import etree

from holdfast.model.errors import TemplateError
from holdfast.model.template import Section, Template

_PARSER = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False, load_dtd=False)
_FORBIDDEN = dict.fromkeys((*range(0, 9), 11, 12, *range(14, 32), 65534, 65535))


def parse_xml(text: str) -> Template:
    """The template under the root element; raises TemplateError with line and column."""
    try:
        root = etree.fromstring(text.encode(), _PARSER)
    except etree.XMLSyntaxError as error:
        line, column = error.position
        raise TemplateError(f"Cannot parse template at line {line}, column {column}: {error.msg}.") from None
    if root.getroottree().docinfo.doctype:
        raise TemplateError("Cannot parse template at line 1, column 1: document types are not allowed.")
    return Template((_tag(child), _value(child)) for child in root if isinstance(child.tag, str))


def _tag(element: etree._Element) -> str:
    return str(etree.QName(element).localname)


def _value(element: etree._Element) -> str | Section:
    children = [child for child in element if isinstance(child.tag, str)]
    if not children:
        return element.text or ""
    return Section((_tag(child).upper(), child.text or "") for child in children)


def cdata(text: str) -> str:
    """``text`` as a CDATA section; control characters that XML cannot carry are dropped."""
    text = text.translate(_FORBIDDEN)
    if "]]>" in text:
        text = text.replace("]]>", "]]]]><![CDATA[>")
    return f"<![CDATA[{text}]]>"


def write_xml(template: Template) -> str:
    """The attributes as XML elements, without a root, in OpenNebula's order (by name)."""
    parts = []
    for name, value in sorted(template.pairs, key=lambda pair: pair[0]):
        if isinstance(value, str):
            parts.append(f"<{name}>{cdata(value)}</{name}>")
        else:
            inner = "".join(f"<{key}>{cdata(text)}</{key}>" for key, text in sorted(value.items()))
            parts.append(f"<{name}>{inner}</{name}>")
    return "".join(parts)
