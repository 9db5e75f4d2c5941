"""Commands on datastores."""

from __future__ import annotations

from dataclasses import replace

from holdfast.engine import commands as c
from holdfast.engine.handlers import Handlers
from holdfast.engine.handlers.names import checked, checked_rename
from holdfast.engine.host_space import forget_on_hosts
from holdfast.engine.space import check_attributes, unmeasured
from holdfast.engine.work import Work
from holdfast.model.enums import DatastoreState, DatastoreType
from holdfast.model.errors import ActionError, AllocateError
from holdfast.model.storage import Datastore, Image
from holdfast.model.template import Template
from holdfast.model.template_text import parse_any
from holdfast.model.vm import Vm
from holdfast.model.vm_states import VmState

DS_MADS = ("fs",)
"""The datastore drivers, which make and remove the files of images."""


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
    check_attributes(template)
    full = template.replaced(_driver_attributes(work, tm_mad, type_, template)).with_values(TYPE=kind, TM_MAD=tm_mad)
    if type_ is not DatastoreType.SYSTEM_DS and ds_mad not in DS_MADS:
        raise AllocateError("datastore", _unknown_ds_mad(ds_mad))
    return Datastore(
        oid, name, type_, tm_mad, ds_mad, f"{work.settings.datastores_path}/{oid}", work.actor.uid, 0, template=full
    )


def _driver_attributes(work: Work, tm_mad: str, type_: DatastoreType, given: Template) -> dict[str, str]:
    """The driver's attributes; that its files are not shared after all (SHARED=NO) is what the site knows better."""
    attributes = work.settings.tm_conf.attributes_of(tm_mad, type_)
    if attributes.get("SHARED") == "YES" and given.get("SHARED").upper() == "NO":
        return {**attributes, "SHARED": "NO"}
    return attributes


def _unknown_ds_mad(name: str) -> str:
    return f'DS_MAD named "{name}" is not defined: there is {", ".join(DS_MADS)}, for images that are files.'


def delete_datastore(work: Work, command: c.DeleteDatastore) -> int:
    """Removes a datastore that nothing is on."""
    datastore = work.get(Datastore, command.oid)
    if datastore.oid < 100:
        raise ActionError(f"Datastore {datastore.oid} ({datastore.name}) belongs to the system.", datastore.oid)
    if images := _images_on(work, datastore):
        raise ActionError(f"Datastore {datastore.oid} is not empty: {images} images.", datastore.oid)
    user = _vm_on(work, datastore)
    if user is not None:
        raise ActionError(f"Datastore {datastore.oid} is not empty: VM {user} has its files there.", datastore.oid)
    forget_on_hosts(work, datastore.oid)
    work.draft.delete(Datastore, datastore.oid)
    return datastore.oid


def _vm_on(work: Work, datastore: Datastore) -> int | None:
    return next((vm.oid for vm in work.draft.all(Vm) if _uses(vm, datastore.oid)), None)


def _images_on(work: Work, datastore: Datastore) -> int:
    """Those whose files are still being made, too."""
    return sum(image.datastore_id == datastore.oid for image in work.draft.all(Image))


def _who_is_on(work: Work, datastore: Datastore) -> str:
    if _images_on(work, datastore):
        return "images lie"
    user = _vm_on(work, datastore)
    return "" if user is None else f"VM {user} has its files"


def _uses(vm: Vm, ds_id: int) -> bool:
    return vm.state is not VmState.DONE and vm.current is not None and vm.current.ds_id == ds_id


def update_datastore(work: Work, command: c.UpdateDatastore) -> int:
    """Replaces or merges the template; another TM_MAD only while nothing lies on it."""
    datastore = work.get(Datastore, command.oid)
    given = parse_any(command.text)
    template = datastore.template.merged(given) if command.append else given
    check_attributes(template)
    tm_mad = _updated_driver(work, datastore, given)
    fixed = {"TYPE": datastore.type.name, "TM_MAD": tm_mad}
    template = template.replaced({**_driver_attributes(work, tm_mad, datastore.type, template), **fixed})
    after = replace(datastore, tm_mad=tm_mad, template=template)
    if tm_mad != datastore.tm_mad:
        after = unmeasured(after)
    limited = [bool(each.template.get("LIMIT_MB")) for each in (datastore, after)]
    work.draft.put(after if limited[0] is limited[1] else unmeasured(after))
    return datastore.oid


def _updated_driver(work: Work, datastore: Datastore, given: Template) -> str:
    """The TM_MAD after the update; raises ActionError for what files that are there already do not allow."""
    for name, is_now in (("TYPE", datastore.type.name), ("DS_MAD", datastore.ds_mad)):
        wanted = given.get(name, is_now)
        if wanted.upper() != is_now.upper():
            raise ActionError(
                f'{name} of datastore {datastore.oid} is {is_now} and cannot become "{wanted}": create another '
                f"datastore (onedatastore create).",
                datastore.oid,
            )
    tm_mad = given.get("TM_MAD") or datastore.tm_mad
    if tm_mad != datastore.tm_mad and (user := _who_is_on(work, datastore)):
        raise ActionError(
            f'TM_MAD of datastore {datastore.oid} is {datastore.tm_mad} and cannot become "{tm_mad}" while {user} '
            f"there: create another datastore (onedatastore create).",
            datastore.oid,
        )
    return tm_mad


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


HANDLERS: Handlers = {
    c.AllocateDatastore: allocate_datastore,
    c.DeleteDatastore: delete_datastore,
    c.UpdateDatastore: update_datastore,
    c.RenameDatastore: rename_datastore,
    c.EnableDatastore: enable_datastore,
}
