"""Datastores and images as XML."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.api.masking import masked
from holdfast.api.views.installation import CLUSTER_ID
from holdfast.api.views.markup import PERMISSIONS, embedded, ids, text
from holdfast.api.views.owners import owner
from holdfast.drivers.tm.account import Progress
from holdfast.model.enums import ImageType
from holdfast.model.storage import Datastore, Image
from holdfast.model.template import Template
from holdfast.model.template_xml import cdata, write_xml
from holdfast.model.user import User

_NO_SNAPSHOTS = (
    "<SNAPSHOTS><ALLOW_ORPHANS><![CDATA[NO]]></ALLOW_ORPHANS><CURRENT_BASE><![CDATA[-1]]></CURRENT_BASE>"
    "<NEXT_SNAPSHOT><![CDATA[0]]></NEXT_SNAPSHOT></SNAPSHOTS>"
    "<BACKUP_INCREMENTS></BACKUP_INCREMENTS><BACKUP_DISK_IDS></BACKUP_DISK_IDS>"
)
_DISK_TYPES = {ImageType.CDROM: 1}


def datastore(datastore: Datastore, users: Mapping[int, User]) -> str:
    """The datastore as ``one.datastore.info`` and ``one.datastorepool.info`` show it."""
    return (
        f"<DATASTORE><ID>{datastore.oid}</ID>{owner(datastore, users)}<NAME>{text(datastore.name)}</NAME>"
        f"{PERMISSIONS[datastore.permissions & 0o777]}<DS_MAD>{cdata(datastore.ds_mad)}</DS_MAD>"
        f"<TM_MAD>{cdata(datastore.tm_mad)}</TM_MAD><BASE_PATH>{cdata(datastore.base_path)}</BASE_PATH>"
        f"<TYPE>{datastore.type:d}</TYPE><DISK_TYPE>0</DISK_TYPE><STATE>{datastore.state:d}</STATE>"
        f"{ids('CLUSTERS', (CLUSTER_ID,))}<TOTAL_MB>{datastore.total_mb}</TOTAL_MB>"
        f"<FREE_MB>{datastore.free_mb}</FREE_MB><USED_MB>{datastore.used_mb}</USED_MB>"
        f"{ids('IMAGES', datastore.images)}<TEMPLATE>{write_xml(masked(datastore.template))}</TEMPLATE></DATASTORE>"
    )


def _lock(image: Image) -> str:
    if not image.lock:
        return ""
    return (
        f"<LOCK><LOCKED>{image.lock}</LOCKED><OWNER>{image.lock_owner}</OWNER><TIME>{image.lock_time}</TIME>"
        "<REQ_ID>-1</REQ_ID></LOCK>"
    )


def with_import(fragment: bytes, progress: Progress | None) -> bytes:
    """A rendered image with the progress of its import, in its template, which OpenNebula's schema leaves open."""
    if progress is None or not progress.done_bytes:
        return fragment
    told = {"IMPORT_BYTES": str(progress.done_bytes)}
    if progress.total_bytes:
        told |= {"IMPORT_TOTAL_BYTES": str(progress.total_bytes), "IMPORT_PERCENT": str(progress.percent)}
    before, end, after = fragment.rpartition(embedded("</TEMPLATE>"))
    return before + embedded(write_xml(Template(told.items()))) + end + after


def image(image: Image, users: Mapping[int, User]) -> str:
    """The image as ``one.image.info`` and ``one.imagepool.info`` show it."""
    return (
        f"<IMAGE><ID>{image.oid}</ID>{owner(image, users)}<NAME>{text(image.name)}</NAME>{_lock(image)}"
        f"{PERMISSIONS[image.permissions & 0o777]}<TYPE>{image.type:d}</TYPE>"
        f"<DISK_TYPE>{_DISK_TYPES.get(image.type, 0)}</DISK_TYPE><PERSISTENT>{image.persistent:d}</PERSISTENT>"
        f"<REGTIME>{image.regtime}</REGTIME><MODTIME>{image.modtime or image.regtime}</MODTIME>"
        f"<SOURCE>{cdata(image.source)}</SOURCE>"
        f"<PATH>{cdata(image.path)}</PATH><FORMAT>{cdata(image.format)}</FORMAT><FS><![CDATA[]]></FS>"
        f"<SIZE>{image.size_mb}</SIZE><STATE>{image.state:d}</STATE><PREV_STATE>{image.prev_state:d}</PREV_STATE>"
        f"<RUNNING_VMS>{len(image.vms)}</RUNNING_VMS><CLONING_OPS>{len(image.clones)}</CLONING_OPS>"
        f"<CLONING_ID>{image.cloning_id}</CLONING_ID>"
        f"<TARGET_SNAPSHOT>-1</TARGET_SNAPSHOT><DATASTORE_ID>{image.datastore_id}</DATASTORE_ID>"
        f"<DATASTORE>{text(image.datastore)}</DATASTORE>{ids('VMS', image.vms)}{ids('CLONES', image.clones)}"
        f"<APP_CLONES></APP_CLONES><TEMPLATE>{write_xml(image.template)}</TEMPLATE>{_NO_SNAPSHOTS}</IMAGE>"
    )
