"""Documents as nested dictionaries, and those as JSON or YAML.

Every value is a string, an empty element is ``{}``.  An element that may repeat is a list even when it occurs once;
which ones those are is a table taken from OpenNebula's schemas, so that a script never has to ask.
"""

from __future__ import annotations

import json
from typing import TypeAlias
from xml.etree.ElementTree import Element

Node: TypeAlias = "str | dict[str, Node] | list[Node]"

_REPEATED = {
    "APP_CLONES": {"ID"},
    "BACKUP_DISK_IDS": {"ID"},
    "BACKUP_IDS": {"ID"},
    "BACKUP_INCREMENTS": {"INCREMENT"},
    "CLONES": {"ID"},
    "CLUSTERS": {"ID"},
    "CLUSTER_POOL": {"CLUSTER"},
    "DATASTORES": {"DS", "ID"},
    "DATASTORE_POOL": {"DATASTORE"},
    "EVIDENCES": {"EVIDENCE"},
    "BUSY": {"ID"},
    "FINDINGS": {"FINDING"},
    "UNSEEN_PLACES": {"UNSEEN"},
    "FAILOVER_POOL": {"FAILOVER"},
    "HISTORY_RECORDS": {"HISTORY"},
    "HOOKLOG": {"HOOK_EXECUTION_RECORD"},
    "HOOK_POOL": {"HOOK"},
    "HOSTS": {"ID"},
    "HOST_POOL": {"HOST"},
    "IMAGES": {"ID"},
    "IMAGE_POOL": {"IMAGE"},
    "MONITORING": {"DISK_SIZE", "NUMA_NODE"},
    "NODE": {"CORE", "HUGEPAGE"},
    "NUMA_NODE": {"HUGEPAGE"},
    "NUMA_NODES": {"NODE"},
    "PCI_DEVICES": {"PCI"},
    "PROOFS": {"PROOF"},
    "SCHED_ACTIONS": {"ID"},
    "SNAPSHOTS": {"SNAPSHOT"},
    "STEPS": {"STEP"},
    "TEMPLATE": {"DISK", "NIC", "NIC_ALIAS", "PCI", "SCHED_ACTION", "SECURITY_GROUP_RULE", "SNAPSHOT"},
    "VM": {"SNAPSHOTS"},
    "VMS": {"ID", "VM"},
    "VM_POOL": {"VM"},
}


def as_node(element: Element) -> Node:
    """The element's content: its text, or its children by name."""
    if len(element) == 0:
        return element.text or {}
    repeated = _REPEATED.get(element.tag, set())
    content: dict[str, Node] = {}
    for child in element:
        value = as_node(child)
        known = content.get(child.tag)
        if isinstance(known, list):
            known.append(value)
        elif known is not None:
            content[child.tag] = [known, value]
        else:
            content[child.tag] = [value] if child.tag in repeated else value
    return content


def json_text(element: Element) -> str:
    """The document as indented JSON."""
    return json.dumps({element.tag: as_node(element)}, indent=2, ensure_ascii=False)


def yaml_text(element: Element) -> str:
    """The document as YAML; strings are quoted, so that ``0`` and ``no`` stay strings."""
    return "\n".join(["---", *_yaml_lines({element.tag: as_node(element)}, "")])


def _yaml_lines(node: dict[str, Node], indent: str) -> list[str]:
    lines: list[str] = []
    for key, value in node.items():
        if isinstance(value, list):
            lines.append(f"{indent}{key}:")
            lines.extend(line for item in value for line in _yaml_item(item, indent))
        elif isinstance(value, dict) and value:
            lines.append(f"{indent}{key}:")
            lines.extend(_yaml_lines(value, indent + "  "))
        else:
            lines.append(f"{indent}{key}: {_yaml_scalar(value)}")
    return lines


def _yaml_item(item: Node, indent: str) -> list[str]:
    if not isinstance(item, dict) or not item:
        return [f"{indent}- {_yaml_scalar(item)}"]
    first, *rest = _yaml_lines(item, indent + "  ")
    return [f"{indent}- {first[len(indent) + 2 :]}", *rest]


def _yaml_scalar(value: Node) -> str:
    return json.dumps(value, ensure_ascii=False)
