"""What each transfer driver means for a datastore: the attributes OpenNebula copies from TM_MAD_CONF."""

from __future__ import annotations

from holdfast.model.enums import DatastoreType
from holdfast.model.errors import AllocateError

_IMAGE_SIDE: dict[str, dict[str, str]] = {
    "shared": {"LN_TARGET": "NONE", "CLONE_TARGET": "SYSTEM", "DISK_TYPE": "FILE"},
    "qcow2": {"LN_TARGET": "NONE", "CLONE_TARGET": "SYSTEM", "DISK_TYPE": "FILE", "DRIVER": "qcow2"},
    "dummy": {"LN_TARGET": "NONE", "CLONE_TARGET": "SYSTEM", "DISK_TYPE": "FILE"},
}
_COMMON = {"ALLOW_ORPHANS": "NO", "PERSISTENT_SNAPSHOTS": "YES"}
_SYSTEM_SIDE = {"DS_MIGRATE": "YES", "DISK_TYPE": "FILE"}


def attributes_of(tm_mad: str, type_: DatastoreType) -> dict[str, str]:
    """The attributes a datastore of this driver and type carries; raises AllocateError for an unknown driver."""
    if tm_mad not in _IMAGE_SIDE:
        known = ", ".join(sorted(_IMAGE_SIDE))
        raise AllocateError("datastore", f'TM_MAD named "{tm_mad}" is not known; this version has {known}.')
    if type_ is DatastoreType.SYSTEM_DS:
        return {**_COMMON, **_SYSTEM_SIDE, "SHARED": "YES"}
    return {**_COMMON, **_IMAGE_SIDE[tm_mad]}
