"""Builds XML elements from template values, which come from users: everything is escaped, nothing is pasted."""

from __future__ import annotations

from typing import Any

from lxml import etree

from holdfast.drivers.vmm.hypervisor import DeploymentError

Element = Any
"""An ``lxml.etree._Element``; lxml carries no types."""

QEMU_NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0"
_PARSER = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False, load_dtd=False)


def child(parent: Element, tag: str, text: str = "", /, **attributes: str) -> Element:
    """Adds an element; attributes with an empty value are left out."""
    element = etree.SubElement(parent, tag)
    try:
        for name, value in attributes.items():
            if value:
                element.set(name.rstrip("_"), value)
        if text:
            element.text = text
    except ValueError:
        raise DeploymentError(f"A value for <{tag}> holds a control character, which XML cannot carry.") from None
    return element


def fragment(text: str, source: str) -> list[Element]:
    """The elements that a user wrote as XML (RAW/DATA); ``qemu:`` is libvirt's namespace for QEMU options."""
    try:
        root = etree.fromstring(f'<raw xmlns:qemu="{QEMU_NAMESPACE}">{text}</raw>'.encode(), _PARSER)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise DeploymentError(f"{source} is not well-formed XML: {error}.") from None
    return [element for element in root if isinstance(element.tag, str)]


def document(text: str, source: str) -> Element:
    """The root of a domain description."""
    try:
        return etree.fromstring(text.encode(), _PARSER)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise DeploymentError(f"{source} is not well-formed XML: {error}.") from None


def on_off(value: str) -> bool:
    """OpenNebula's YES, in any case."""
    return value.upper() == "YES"
