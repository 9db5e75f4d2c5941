"""Commands on images that exist (see :mod:`.image_allocate` for new ones): what their state and their lock allow."""

from __future__ import annotations

from dataclasses import replace

from holdfast.engine import cloning
from holdfast.engine import commands as c
from holdfast.engine.handlers import Handlers
from holdfast.engine.handlers.image_allocate import DISKS, image_type, order_again
from holdfast.engine.handlers.names import checked_rename
from holdfast.engine.image_rules import check_checksums
from holdfast.engine.image_work import end_clone, has_file, insist_unlocked, put_in_state
from holdfast.engine.work import Work
from holdfast.model.enums import EffectKind, EffectState, ImageState, ImageType, LockLevel
from holdfast.model.errors import ActionError, TemplateError
from holdfast.model.storage import Image
from holdfast.model.template_text import parse_any

_SHOWN_ONLY = ("IMPORT_BYTES", "IMPORT_TOTAL_BYTES", "IMPORT_PERCENT")
"""What is shown in the template of an image while it is imported, and comes back from clients that edit it."""


def _to_manage(work: Work, oid: int) -> Image:
    image = work.get(Image, oid)
    insist_unlocked(image, LockLevel.MANAGE)
    return image


def _insist_unused(image: Image, verb: str) -> None:
    """What VMs or copies are made of stays as it is."""
    if image.vms:
        raise ActionError(f"Cannot {verb} image {image.oid}: VMs {', '.join(map(str, image.vms))} use it.", image.oid)
    if image.clones:
        copies = ", ".join(map(str, image.clones))
        raise ActionError(f"Cannot {verb} image {image.oid}: it is being copied to images {copies}.", image.oid)


def delete_image(work: Work, command: c.DeleteImage) -> int:
    """Removes an image that nobody uses; ``force`` does not wait for the end of what is done with its file."""
    image = _to_manage(work, command.oid)
    _insist_unused(image, "delete")
    if image.effect_id >= 0 and not command.force:
        raise ActionError(
            f"Cannot delete image {image.oid}, it is in state: {image.state.name}: something is still done with its "
            f"file (oneimage show {image.oid}). Wait for it, or do not: oneimage delete --force {image.oid}.",
            image.oid,
        )
    work.close(image.effect_id, EffectState.SUPERSEDED, "the image is being deleted")
    end_clone(work, image)
    args = {"SOURCE": image.source, "DATASTORE_ID": str(image.datastore_id)}
    effect = work.plan(EffectKind.IMAGE_DELETE, image.oid, -1, args)
    put_in_state(work, replace(image, effect_id=effect.oid), ImageState.DELETE)
    return image.oid


def update_image(work: Work, command: c.UpdateImage) -> int:
    """Replaces or merges the template."""
    image = _to_manage(work, command.oid)
    given = parse_any(command.text).without(*_SHOWN_ONLY)
    check_checksums(given)
    work.draft.put(replace(image, template=image.template.merged(given) if command.append else given))
    return image.oid


def rename_image(work: Work, command: c.RenameImage) -> int:
    """Renames an image."""
    image = _to_manage(work, command.oid)
    work.draft.put(replace(image, name=checked_rename(work, Image, command.name, image.oid)))
    return image.oid


def enable_image(work: Work, command: c.EnableImage) -> int:
    """Enables (from DISABLED or ERROR) or disables (READY or ERROR) an image.

    An image in ERROR whose file could not be made is not usable by a word: it is imported, or copied, once more.
    """
    image = _to_manage(work, command.oid)
    allowed = (ImageState.DISABLED, ImageState.ERROR) if command.enable else (ImageState.READY, ImageState.ERROR)
    if image.state not in allowed:
        verb = "enable" if command.enable else "disable"
        one_of = " or ".join(state.name for state in allowed)
        raise ActionError(
            f"Cannot {verb} image {image.oid}, it is in state: {image.state.name}. It must be {one_of}.", image.oid
        )
    if not command.enable:
        put_in_state(work, image, ImageState.DISABLED)
    elif has_file(work, image):
        cloning.image_ready(work, image)
    else:
        order_again(work, image)
    return image.oid


def persist_image(work: Work, command: c.PersistImage) -> int:
    """Makes an unused image persistent or not."""
    image = _to_manage(work, command.oid)
    _insist_unused(image, "change")
    if image.type not in (ImageType.OS, ImageType.DATABLOCK):
        raise TemplateError(f"Image {image.oid} of type {image.type.name} cannot be persistent.", image.oid)
    work.draft.put(replace(image, persistent=command.persistent))
    return image.oid


def change_type(work: Work, command: c.ChangeImageType) -> int:
    """``one.image.chtype``: a disk stays a disk and a file a file, for they are kept on different datastores."""
    image = _to_manage(work, command.oid)
    kind = image_type(command.type)
    if kind is None:
        known = ", ".join(ImageType.__members__)
        raise ActionError(f'TYPE must be one of {known}, it is "{command.type}".', image.oid)
    _insist_unused(image, "change")
    if (kind in DISKS) != (image.type in DISKS):
        raise ActionError(
            f"Image {image.oid} is of type {image.type.name} and cannot be {kind.name}: disks (OS, CDROM, DATABLOCK) "
            f"and files (KERNEL, RAMDISK, CONTEXT) are kept on different datastores.",
            image.oid,
        )
    if image.persistent and kind is ImageType.CDROM:
        way_out = f"oneimage nonpersistent {image.oid}"
        raise ActionError(f"Image {image.oid} is persistent, a CDROM cannot be: {way_out} first.", image.oid)
    work.draft.put(replace(image, type=kind))
    return image.oid


def lock_image(work: Work, command: c.LockImage) -> int:
    """Locks an image against use, management or administration; with ``test`` only if nobody did before."""
    image = work.get(Image, command.oid)
    if not LockLevel.USE <= command.level <= LockLevel.ALL:
        raise ActionError(f"Wrong lock level {command.level}: 1 use, 2 manage, 3 admin, 4 all.", image.oid)
    if command.test and image.lock:
        raise ActionError("The image is already locked.", image.oid)
    locked = replace(image, lock=command.level, lock_owner=work.actor.uid, lock_time=work.second)
    work.draft.put(locked)
    return image.oid


def unlock_image(work: Work, command: c.UnlockImage) -> int:
    """Unlocks an image."""
    image = work.get(Image, command.oid)
    work.draft.put(replace(image, lock=0, lock_owner=-1, lock_time=0))
    return image.oid


HANDLERS: Handlers = {
    c.DeleteImage: delete_image,
    c.UpdateImage: update_image,
    c.RenameImage: rename_image,
    c.EnableImage: enable_image,
    c.PersistImage: persist_image,
    c.ChangeImageType: change_type,
    c.LockImage: lock_image,
    c.UnlockImage: unlock_image,
}
