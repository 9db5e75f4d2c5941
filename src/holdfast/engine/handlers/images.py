"""Commands on images."""

from __future__ import annotations

from dataclasses import replace

from holdfast.engine import cloning
from holdfast.engine import commands as c
from holdfast.engine.handlers import Handlers
from holdfast.engine.handlers.names import checked, checked_rename
from holdfast.engine.image_work import put_in_state
from holdfast.engine.work import Work
from holdfast.model.enums import DatastoreType, EffectKind, ImageState, ImageType
from holdfast.model.errors import ActionError, AllocateError, TemplateError
from holdfast.model.storage import Datastore, Image
from holdfast.model.template import Template
from holdfast.model.template_text import parse_any


def allocate_image(work: Work, command: c.AllocateImage) -> int:
    """A new image: LOCKED until its file is in the datastore."""
    datastore = work.get(Datastore, command.ds_id)
    if datastore.type is not DatastoreType.IMAGE_DS:
        raise AllocateError("image", f"Datastore {datastore.oid} ({datastore.name}) does not hold images.")
    template = parse_any(command.text)
    name = checked(work, Image, template.get("NAME"))
    image = _image(work, datastore, name, template)
    args = {"PATH": image.path, "SOURCE": image.source, "SIZE": str(image.size_mb), "FORMAT": image.format}
    effect = work.plan(EffectKind.IMAGE_CREATE, image.oid, -1, {**args, "DATASTORE_ID": str(datastore.oid)})
    work.draft.put(replace(image, effect_id=effect.oid))
    return image.oid


def _image(work: Work, datastore: Datastore, name: str, template: Template) -> Image:
    kind = template.get("TYPE", "OS").upper()
    if kind not in ImageType.__members__:
        raise AllocateError("image", f'TYPE must be one of {", ".join(ImageType.__members__)}, it is "{kind}".')
    path = template.get("PATH")
    size_mb = template.get_int("SIZE", 0)
    if not path and size_mb <= 0:
        raise AllocateError("image", "PATH (a file to copy) or SIZE in MB (an empty disk) must be given.")
    oid = work.draft.next_id(Image)
    rest = template.without("NAME", "TYPE", "PATH", "SIZE", "PERSISTENT", "FORMAT", "DRIVER")
    return Image(
        oid,
        name,
        datastore.oid,
        datastore.name,
        ImageType[kind],
        ImageState.LOCKED,
        work.actor.uid,
        0,
        persistent=template.flag("PERSISTENT"),
        path=path,
        source=f"{datastore.base_path}/{_file_name(work, oid)}",
        format=template.get("FORMAT") or template.get("DRIVER") or ("" if path else "qcow2"),
        size_mb=size_mb,
        regtime=work.second,
        template=rest,
    )


def _file_name(work: Work, oid: int) -> str:
    """A name that is unique in the datastore for ever: OpenNebula's md5 of time and id, without the md5."""
    return f"{work.second:x}{oid:08x}".rjust(32, "0")


def delete_image(work: Work, command: c.DeleteImage) -> int:
    """Removes an image that no VM uses."""
    image = work.get(Image, command.oid)
    if image.vms:
        raise ActionError(f"Cannot delete image {image.oid}: VMs {', '.join(map(str, image.vms))} use it.", image.oid)
    if image.effect_id >= 0 and not command.force:
        raise ActionError(f"Cannot delete image {image.oid}, it is in state: {image.state.name}", image.oid)
    args = {"SOURCE": image.source, "DATASTORE_ID": str(image.datastore_id)}
    effect = work.plan(EffectKind.IMAGE_DELETE, image.oid, -1, args)
    put_in_state(work, replace(image, effect_id=effect.oid), ImageState.DELETE)
    return image.oid


def update_image(work: Work, command: c.UpdateImage) -> int:
    """Replaces or merges the template."""
    image = work.get(Image, command.oid)
    given = parse_any(command.text)
    work.draft.put(replace(image, template=image.template.merged(given) if command.append else given))
    return image.oid


def rename_image(work: Work, command: c.RenameImage) -> int:
    """Renames an image."""
    image = work.get(Image, command.oid)
    work.draft.put(replace(image, name=checked_rename(work, Image, command.name, image.oid)))
    return image.oid


def enable_image(work: Work, command: c.EnableImage) -> int:
    """Enables (from DISABLED or ERROR) or disables (READY or ERROR) an image."""
    image = work.get(Image, command.oid)
    allowed = (ImageState.DISABLED, ImageState.ERROR) if command.enable else (ImageState.READY, ImageState.ERROR)
    if image.state not in allowed:
        verb = "enable" if command.enable else "disable"
        raise ActionError(f"Cannot {verb} image {image.oid}, it is in state: {image.state.name}", image.oid)
    if command.enable:
        cloning.image_ready(work, image)
    else:
        put_in_state(work, image, ImageState.DISABLED)
    return image.oid


def persist_image(work: Work, command: c.PersistImage) -> int:
    """Makes an unused image persistent or not."""
    image = work.get(Image, command.oid)
    if image.vms:
        raise ActionError(f"Cannot change image {image.oid}: VMs {', '.join(map(str, image.vms))} use it.", image.oid)
    if image.type not in (ImageType.OS, ImageType.DATABLOCK):
        raise TemplateError(f"Image {image.oid} of type {image.type.name} cannot be persistent.", image.oid)
    work.draft.put(replace(image, persistent=command.persistent))
    return image.oid


HANDLERS: Handlers = {
    c.AllocateImage: allocate_image,
    c.DeleteImage: delete_image,
    c.UpdateImage: update_image,
    c.RenameImage: rename_image,
    c.EnableImage: enable_image,
    c.PersistImage: persist_image,
}
