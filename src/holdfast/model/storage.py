"""Datastores and images."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.model.enums import DatastoreState, DatastoreType, ImageState, ImageType
from holdfast.model.template import EMPTY, Template


@dataclass(frozen=True, slots=True)
class Datastore:
    """A datastore; sizes in MiB."""

    oid: int
    name: str
    type: DatastoreType
    tm_mad: str
    ds_mad: str
    base_path: str
    uid: int = 0
    gid: int = 0
    permissions: int = 0o640
    state: DatastoreState = DatastoreState.READY
    total_mb: int = 0
    free_mb: int = 0
    used_mb: int = 0
    promised_mb: int = 0
    """What transfers that began since the last measurement may write."""
    images: tuple[int, ...] = ()
    template: Template = EMPTY

    @property
    def shared(self) -> bool:
        """All hosts see the same files; a missing SHARED means yes, as in OpenNebula."""
        return self.template.get("SHARED", "YES").upper() != "NO"


@dataclass(frozen=True, slots=True)
class Image:
    """A disk image; ``size_mb`` is its virtual size."""

    oid: int
    name: str
    datastore_id: int
    datastore: str
    type: ImageType
    state: ImageState
    uid: int = 0
    gid: int = 0
    permissions: int = 0o600
    prev_state: ImageState = ImageState.INIT
    persistent: bool = False
    path: str = ""
    source: str = ""
    format: str = "qcow2"
    size_mb: int = 0
    regtime: int = 0
    modtime: int = 0
    """When a VM last gave it back changed; 0 = never."""
    vms: tuple[int, ...] = ()
    clones: tuple[int, ...] = ()
    """Images that are being copied from this one."""
    cloning_id: int = -1
    """The image that this one is, or should have been, copied from."""
    lock: int = 0
    lock_owner: int = -1
    lock_time: int = 0
    effect_id: int = -1
    template: Template = EMPTY
