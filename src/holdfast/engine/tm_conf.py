"""What each transfer driver means for a datastore: OpenNebula's TM_MAD_CONF, of the built-in drivers and the site's.

A mode is the transfer driver of a system datastore that an image datastore with another driver can serve: images on
``qcow2`` are copied to VMs on ``ssh``.  It is named in the image datastore's TM_MAD_SYSTEM, and has its own
``LN_TARGET_SSH``, ``CLONE_TARGET_SSH`` and ``DISK_TYPE_SSH``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from holdfast.model.enums import DatastoreType
from holdfast.model.errors import AllocateError, TemplateError

_TARGETS = ("NONE", "SELF", "SYSTEM")
_FLAGS = ("SHARED", "DS_MIGRATE", "DS_LIVE_MIGRATE", "DS_MIGRATE_SNAP", "PERSISTENT_SNAPSHOTS")
_PLAIN = ("DRIVER", "DISK_TYPE", "TM_MAD_SYSTEM", "ALLOW_ORPHANS")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-]*")

_EVERYWHERE = {"PERSISTENT_SNAPSHOTS": "YES", "ALLOW_ORPHANS": "NO", "DISK_TYPE": "FILE"}
_ON_SYSTEM_DATASTORES = {"SHARED": "YES", "DS_MIGRATE": "YES", "DS_LIVE_MIGRATE": "NO", "DS_MIGRATE_SNAP": "NO"}
_TO_SSH = {"TM_MAD_SYSTEM": "ssh", "LN_TARGET_SSH": "SYSTEM", "CLONE_TARGET_SSH": "SYSTEM", "DISK_TYPE_SSH": "FILE"}
_IN_PLACE = {"LN_TARGET": "NONE", "CLONE_TARGET": "SYSTEM", "SHARED": "YES", "DS_MIGRATE_SNAP": "YES"}
_COPIED = {"LN_TARGET": "SYSTEM", "CLONE_TARGET": "SYSTEM", "SHARED": "NO", "DS_MIGRATE_SNAP": "YES"}

BUILT_IN: Mapping[str, Mapping[str, str]] = {
    "dummy": _IN_PLACE,
    "shared": {**_IN_PLACE, **_TO_SSH, "ALLOW_ORPHANS": "FORMAT"},
    "qcow2": {**_IN_PLACE, **_TO_SSH, "ALLOW_ORPHANS": "FORMAT", "DRIVER": "qcow2"},
    "ssh": {**_COPIED, "ALLOW_ORPHANS": "YES"},
    "local": {**_COPIED, "ALLOW_ORPHANS": "FORMAT"},
}
"""The drivers of this program.  A running VM never changes its datastore: DS_LIVE_MIGRATE is NO for all of them."""


class TmConf:
    """The transfer drivers that datastores may name; raises TemplateError for a site's driver that is half defined."""

    def __init__(self, site: Mapping[str, Mapping[str, str]] | None = None) -> None:
        declared = {name: _checked(name, attributes) for name, attributes in (site or {}).items()}
        self._drivers: dict[str, Mapping[str, str]] = {**BUILT_IN, **declared}

    def attributes_of(self, tm_mad: str, type_: DatastoreType) -> dict[str, str]:
        """The attributes a datastore of this driver and type carries; raises AllocateError for an unknown driver."""
        if tm_mad not in self._drivers:
            known = ", ".join(sorted(self._drivers))
            raise AllocateError(
                "datastore",
                f'TM_MAD named "{tm_mad}" is not defined: there are {known}. A driver of your own is declared in the '
                f"controller's configuration, under tm_mad_conf.",
            )
        return self.meaning(tm_mad, type_)

    def meaning(self, tm_mad: str, type_: DatastoreType) -> dict[str, str]:
        """As :meth:`attributes_of`; of a driver that is not declared (any more) nothing special is known."""
        given = self._drivers.get(tm_mad, {})
        if type_ is DatastoreType.SYSTEM_DS:
            own = {name: given.get(name, value) for name, value in _ON_SYSTEM_DATASTORES.items()}
            return {name: given.get(name, value) for name, value in _EVERYWHERE.items()} | own
        return {**_EVERYWHERE, **{name: text for name, text in given.items() if name not in _ON_SYSTEM_DATASTORES}}

    def driver_of(self, tm_mad: str) -> str:
        """The DRIVER (disk format) that this transfer driver insists on, empty when it takes any."""
        return self._drivers.get(tm_mad, {}).get("DRIVER", "")


def modes(names: str) -> tuple[str, ...]:
    """The modes that a TM_MAD_SYSTEM lists."""
    return tuple(name.strip() for name in names.split(",") if name.strip())


def _checked(name: str, given: Mapping[str, str]) -> Mapping[str, str]:
    """The driver's attributes, by upper-case name."""
    if name in BUILT_IN:
        raise TemplateError(f"tm_mad_conf.{name}: this driver is built in; give your own driver another name.")
    if not _NAME.fullmatch(name):
        raise TemplateError(f'tm_mad_conf: "{name}" cannot be a driver\'s name; use letters, digits, _ and -.')
    attributes = {key.upper(): text for key, text in given.items()}
    allowed = dict(_rules(attributes))
    for key, text in attributes.items():
        if key not in allowed:
            known = ", ".join(sorted(allowed))
            raise TemplateError(f"tm_mad_conf.{name}: unknown attribute {key}; known are {known}.")
        if allowed[key] and text not in allowed[key]:
            raise TemplateError(f'tm_mad_conf.{name}: {key} is "{text}", it must be {" or ".join(allowed[key])}.')
    for key in ("LN_TARGET", "CLONE_TARGET", *_of_modes(attributes)):
        if key not in attributes:
            raise TemplateError(f"tm_mad_conf.{name}: {key} is missing; it is {', '.join(_TARGETS)}.")
    return attributes


def _rules(attributes: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every attribute that may be given, with the words it may have; () is any text."""
    yield from ((name, _TARGETS) for name in ("LN_TARGET", "CLONE_TARGET", *_of_modes(attributes)))
    yield from ((name, ("YES", "NO")) for name in _FLAGS)
    yield from ((name, ()) for name in _PLAIN)
    yield from ((f"DISK_TYPE_{mode.upper()}", ()) for mode in modes(attributes.get("TM_MAD_SYSTEM", "")))


def _of_modes(attributes: Mapping[str, str]) -> Iterator[str]:
    for mode in modes(attributes.get("TM_MAD_SYSTEM", "")):
        yield f"LN_TARGET_{mode.upper()}"
        yield f"CLONE_TARGET_{mode.upper()}"
