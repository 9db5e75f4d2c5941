"""Commands on datastores and images."""

from __future__ import annotations

from dataclasses import replace

from holdfast.engine import cloning
from holdfast.engine import commands as c
from holdfast.engine.handlers import Handlers
from holdfast.engine.handlers.names import checked, checked_rename
from holdfast.engine.image_work import put_in_state
from holdfast.engine.tm_conf import attributes_of
from holdfast.engine.work import Work
from holdfast.model.enums import DatastoreState, DatastoreType, EffectKind, ImageState, ImageType
from holdfast.model.errors import ActionError, AllocateError, TemplateError
from holdfast.model.storage import Datastore, Image
from holdfast.model.template import Template
from holdfast.model.template_text import parse_any
from holdfast.model.vm import Vm
from holdfast.model.vm_states import VmState


def allocate_datastore(work: Work, command: c.AllocateDatastore) -> int:
    """A new datastore; TM_MAD and DS_MAD say which drivers serve it."""
    template = parse_any(command.text)
    name = checked(work, Datastore, template.get("NAME"))
    oid = max(100, work.draft.next_id(Datastore))
    work.draft.counters["Datastore"] = oid + 1
    work.draft.put(_datastore(work, oid, name, template.without("NAME")))
    return oid


def _datastore(work: Work, oid: int, name: str, template: Template) -> Datastore:
    kind = template.get("TYPE", "IMAGE_DS").upper()
    if kind not in DatastoreType.__members__:
        raise AllocateError("datastore", f'TYPE must be IMAGE_DS, SYSTEM_DS or FILE_DS, it is "{kind}".')
    tm_mad = template.get("TM_MAD")
    if not tm_mad:
        raise AllocateError("datastore", "No TM_MAD in template: it names the transfer driver, for example shared.")
    type_ = DatastoreType[kind]
    ds_mad = "-" if type_ is DatastoreType.SYSTEM_DS else template.get("DS_MAD")
    if not ds_mad:
        raise AllocateError("datastore", "No DS_MAD in template: it names the datastore driver, for example fs.")
    full = template.replaced(_driver_attributes(tm_mad, type_, template)).with_values(TYPE=kind, TM_MAD=tm_mad)
    return Datastore(
        oid, name, type_, tm_mad, ds_mad, f"{work.settings.datastores_path}/{oid}", work.actor.uid, 0, template=full
    )


def _driver_attributes(tm_mad: str, type_: DatastoreType, given: Template) -> dict[str, str]:
    """The driver's attributes; SHARED is the one that the site knows better."""
    attributes = attributes_of(tm_mad, type_)
    return {name: value for name, value in attributes.items() if name != "SHARED" or name not in given}


def delete_datastore(work: Work, command: c.DeleteDatastore) -> int:
    """Removes a datastore that nothing is on."""
    datastore = work.get(Datastore, command.oid)
    if datastore.oid < 100:
        raise ActionError(f"Datastore {datastore.oid} ({datastore.name}) belongs to the system.", datastore.oid)
    if datastore.images:
        raise ActionError(f"Datastore {datastore.oid} is not empty: {len(datastore.images)} images.", datastore.oid)
    user = next((vm.oid for vm in work.draft.all(Vm) if _uses(vm, datastore.oid)), None)
    if user is not None:
        raise ActionError(f"Datastore {datastore.oid} is not empty: VM {user} has its files there.", datastore.oid)
    work.draft.delete(Datastore, datastore.oid)
    return datastore.oid


def _uses(vm: Vm, ds_id: int) -> bool:
    return vm.state is not VmState.DONE and vm.current is not None and vm.current.ds_id == ds_id


def update_datastore(work: Work, command: c.UpdateDatastore) -> int:
    """Replaces or merges the template; the drivers stay."""
    datastore = work.get(Datastore, command.oid)
    given = parse_any(command.text)
    template = datastore.template.merged(given) if command.append else given
    fixed = {"TYPE": datastore.type.name, "TM_MAD": datastore.tm_mad}
    template = template.replaced({**_driver_attributes(datastore.tm_mad, datastore.type, template), **fixed})
    work.draft.put(replace(datastore, template=template))
    return datastore.oid


def rename_datastore(work: Work, command: c.RenameDatastore) -> int:
    """Renames a datastore."""
    datastore = work.get(Datastore, command.oid)
    work.draft.put(replace(datastore, name=checked_rename(work, Datastore, command.name, datastore.oid)))
    return datastore.oid


def enable_datastore(work: Work, command: c.EnableDatastore) -> int:
    """Enables or disables a system datastore."""
    datastore = work.get(Datastore, command.oid)
    if datastore.type is not DatastoreType.SYSTEM_DS:
        raise ActionError("Only system datastores can be enabled or disabled.", datastore.oid)
    state = DatastoreState.READY if command.enable else DatastoreState.DISABLED
    work.draft.put(replace(datastore, state=state))
    return datastore.oid


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
    c.AllocateDatastore: allocate_datastore,
    c.DeleteDatastore: delete_datastore,
    c.UpdateDatastore: update_datastore,
    c.RenameDatastore: rename_datastore,
    c.EnableDatastore: enable_datastore,
    c.AllocateImage: allocate_image,
    c.DeleteImage: delete_image,
    c.UpdateImage: update_image,
    c.RenameImage: rename_image,
    c.EnableImage: enable_image,
    c.PersistImage: persist_image,
}
