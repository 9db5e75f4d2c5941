"""New images: from a file or URL, empty, or copied from another image.

A new image is LOCKED until its file is in the datastore.  If the file could not be made the image is in ERROR, and
enabling it orders the file once more.  An image is in its datastore's list from the moment its file is there.
"""

from __future__ import annotations

from dataclasses import replace

from holdfast.engine import commands as c
from holdfast.engine.handlers import Handlers
from holdfast.engine.handlers.names import checked
from holdfast.engine.image_rules import FILES, check_origin
from holdfast.engine.image_work import begin_clone, insist_unlocked, put_in_state
from holdfast.engine.space import available_mb, insist_on_space, promise_space
from holdfast.engine.work import Work
from holdfast.model.enums import DatastoreType, EffectKind, ImageState, ImageType, LockLevel
from holdfast.model.errors import AllocateError
from holdfast.model.storage import Datastore, Image
from holdfast.model.template import Template
from holdfast.model.template_text import parse_any

DISKS = (ImageType.OS, ImageType.CDROM, ImageType.DATABLOCK)
"""What a VM can have as a disk; an image datastore holds these."""
_HELD = {DatastoreType.IMAGE_DS: DISKS, DatastoreType.FILE_DS: FILES}
_OWN_FIELDS = ("NAME", "TYPE", "PATH", "SIZE", "PERSISTENT", "FORMAT", "DRIVER")


def allocate_image(work: Work, command: c.AllocateImage) -> int:
    """``one.image.allocate``."""
    datastore = work.get(Datastore, command.ds_id)
    template = parse_any(command.text)
    name = checked(work, Image, template.get("NAME"))
    image = _image(work, datastore, name, template)
    if not command.skip_capacity_check:
        insist_on_space(work, datastore, max(1, image.size_mb), f'image "{name}"')
    _order_file(work, image, checked_room=not command.skip_capacity_check)
    promise_space(work, datastore.oid, image.size_mb)
    return image.oid


def _image(work: Work, datastore: Datastore, name: str, template: Template) -> Image:
    kind = image_type(template.get("TYPE", "OS"))
    if kind is None:
        known = ", ".join(ImageType.__members__)
        raise AllocateError("image", f'TYPE must be one of {known}, it is "{template.get("TYPE")}".')
    _check_place(datastore, kind)
    path = template.get("PATH")
    size_mb = template.get_int("SIZE", 0)
    check_origin(template, kind)
    persistent = template.flag("PERSISTENT")
    if persistent and kind not in (ImageType.OS, ImageType.DATABLOCK):
        raise AllocateError("image", f"An image of type {kind.name} cannot be persistent: leave PERSISTENT out.")
    oid = work.draft.next_id(Image)
    return Image(
        oid,
        name,
        datastore.oid,
        datastore.name,
        kind,
        ImageState.LOCKED,
        work.actor.uid,
        0,
        persistent=persistent,
        path=path,
        source=f"{datastore.base_path}/{_file_name(work, oid)}",
        format=(template.get("FORMAT") or template.get("DRIVER") or ("" if path else "qcow2")).lower(),
        size_mb=size_mb,
        regtime=work.second,
        template=template.without(*_OWN_FIELDS),
    )


def image_type(word: str) -> ImageType | None:
    """The type of this name, in any case; None when there is none."""
    return ImageType.__members__.get(word.strip().upper())


def _check_place(datastore: Datastore, kind: ImageType) -> None:
    held = _HELD.get(datastore.type)
    if held is None:
        raise AllocateError("image", f"Datastore {datastore.oid} ({datastore.name}) does not hold images.")
    if kind not in held:
        wanted = "an IMAGE_DS" if kind in DISKS else "a FILE_DS"
        found = "an IMAGE_DS" if datastore.type is DatastoreType.IMAGE_DS else "a FILE_DS"
        raise AllocateError(
            "image",
            f"Datastore {datastore.oid} ({datastore.name}) is {found}: an image of type {kind.name} "
            f"needs {wanted} (onedatastore list).",
        )


def clone_image(work: Work, command: c.CloneImage) -> int:
    """``one.image.clone``: the new image is not persistent, and VMs may already be made of it while it is copied."""
    origin = work.get(Image, command.oid)
    insist_unlocked(origin, LockLevel.USE)
    name = checked(work, Image, command.name)
    datastore = work.get(Datastore, origin.datastore_id if command.ds_id < 0 else command.ds_id)
    _check_place(datastore, origin.type)
    insist_on_space(work, datastore, origin.size_mb, f'image "{name}"')
    oid = work.draft.next_id(Image)
    copy = replace(
        Image(oid, name, datastore.oid, datastore.name, origin.type, ImageState.LOCKED, work.actor.uid, 0),
        path=origin.source,
        source=f"{datastore.base_path}/{_file_name(work, oid)}",
        format=origin.format,
        size_mb=origin.size_mb,
        regtime=work.second,
        cloning_id=origin.oid,
        template=origin.template.without("ERROR"),
    )
    _order_file(work, copy)
    promise_space(work, datastore.oid, origin.size_mb)
    return oid


def order_again(work: Work, image: Image) -> None:
    """The file of an image in ERROR that has none is made once more; VMs that wait for it go on waiting."""
    state = ImageState.LOCKED
    if image.vms:
        state = ImageState.LOCKED_USED_PERS if image.persistent else ImageState.LOCKED_USED
    _order_file(work, put_in_state(work, replace(image, template=image.template.without("ERROR")), state), again=True)


def _order_file(work: Work, image: Image, again: bool = False, checked_room: bool = True) -> None:
    datastore = work.get(Datastore, image.datastore_id)
    room_mb = available_mb(datastore, work.settings.datastore_capacity_check) if checked_room else None
    args = {"SOURCE": image.source, "SIZE": str(image.size_mb), "FORMAT": image.format, "AGAIN": "YES" if again else ""}
    if room_mb is not None:
        args["ROOM_MB"] = str(max(0, room_mb))
    if image.cloning_id >= 0:
        origin = work.get(Image, image.cloning_id)
        begin_clone(work, origin, image.oid)
        kind, whence = EffectKind.IMAGE_CLONE, {"FROM": origin.source}
    else:
        kind, whence = EffectKind.IMAGE_CREATE, {"PATH": image.path}
    effect = work.plan(kind, image.oid, -1, {**args, **whence, "DATASTORE_ID": str(image.datastore_id)})
    work.draft.put(replace(image, effect_id=effect.oid))


def _file_name(work: Work, oid: int) -> str:
    """A name that is unique in the datastore for ever: OpenNebula's md5 of time and id, without the md5."""
    return f"{work.second:x}{oid:08x}".rjust(32, "0")


HANDLERS: Handlers = {c.AllocateImage: allocate_image, c.CloneImage: clone_image}
