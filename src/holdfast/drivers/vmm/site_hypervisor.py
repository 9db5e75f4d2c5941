"""What the controller's configuration says about a hypervisor of the site: ``[vmm_mad.NAME]``.

TYPE is the form of the deployment file, as in OpenNebula's VM_MAD: ``xml`` (the VM itself), ``kvm`` or ``qemu`` (a
libvirt domain).  LOCAL says where the scripts run: NO, on each host, or YES, on the controller.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.model.errors import TemplateError

BUILT_IN = ("kvm", "qemu", "dummy")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-]*")
_ALLOWED = {"TYPE": ("xml", "kvm", "qemu"), "LOCAL": ("NO", "YES")}


@dataclass(frozen=True, slots=True)
class SiteHypervisor:
    """The scripts are in ``remotes/vmm/<name>``."""

    name: str
    type: str = "xml"
    local: bool = False


def site_hypervisors(tables: Mapping[str, Mapping[str, str]]) -> dict[str, SiteHypervisor]:
    """By name, which is the VM_MAD of its hosts; raises TemplateError."""
    return {name: _checked(name, table) for name, table in tables.items()}


def unseen(tables: Mapping[str, Mapping[str, str]]) -> frozenset[str]:
    """Those whose guests an agent cannot see: it knows QEMU's, by the names that libvirt's domains have."""
    return frozenset(name for name, hypervisor in site_hypervisors(tables).items() if hypervisor.type == "xml")


def _checked(name: str, given: Mapping[str, str]) -> SiteHypervisor:
    if name in BUILT_IN:
        raise TemplateError(f"vmm_mad.{name}: this driver is built in; give your own driver another name.")
    if not _NAME.fullmatch(name):
        raise TemplateError(f'vmm_mad: "{name}" cannot be a driver\'s name; use letters, digits, _ and -.')
    attributes = {key.upper(): text for key, text in given.items()}
    for key, text in attributes.items():
        if key not in _ALLOWED:
            raise TemplateError(f"vmm_mad.{name}: unknown attribute {key}; known are {', '.join(sorted(_ALLOWED))}.")
        if text not in _ALLOWED[key]:
            raise TemplateError(f'vmm_mad.{name}: {key} is "{text}", it must be {" or ".join(_ALLOWED[key])}.')
    return SiteHypervisor(name, attributes.get("TYPE", "xml"), attributes.get("LOCAL") == "YES")
