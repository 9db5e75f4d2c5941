"""Commands on datastores."""

from __future__ import annotations

from dataclasses import replace

from holdfast.engine import commands as c
from holdfast.engine.handlers import Handlers
from holdfast.engine.handlers.names import checked, checked_rename
from holdfast.engine.space import check_attributes, unmeasured
from holdfast.engine.work import Work
from holdfast.model.enums import DatastoreState, DatastoreType
from holdfast.model.errors import ActionError, AllocateError
from holdfast.model.storage import Datastore
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
    check_attributes(template)
    full = template.replaced(_driver_attributes(work, tm_mad, type_, template)).with_values(TYPE=kind, TM_MAD=tm_mad)
    return Datastore(
        oid, name, type_, tm_mad, ds_mad, f"{work.settings.datastores_path}/{oid}", work.actor.uid, 0, template=full
    )


def _driver_attributes(work: Work, tm_mad: str, type_: DatastoreType, given: Template) -> dict[str, str]:
    """The driver's attributes; that its files are not shared after all (SHARED=NO) is what the site knows better."""
    attributes = work.settings.tm_conf.attributes_of(tm_mad, type_)
    if attributes.get("SHARED") == "YES" and given.get("SHARED").upper() == "NO":
        return {**attributes, "SHARED": "NO"}
    return attributes


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
    check_attributes(template)
    fixed = {"TYPE": datastore.type.name, "TM_MAD": datastore.tm_mad}
    template = template.replaced({**_driver_attributes(work, datastore.tm_mad, datastore.type, template), **fixed})
    after = replace(datastore, template=template)
    limited = [bool(each.template.get("LIMIT_MB")) for each in (datastore, after)]
    work.draft.put(after if limited[0] is limited[1] else unmeasured(after))
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


HANDLERS: Handlers = {
    c.AllocateDatastore: allocate_datastore,
    c.DeleteDatastore: delete_datastore,
    c.UpdateDatastore: update_datastore,
    c.RenameDatastore: rename_datastore,
    c.EnableDatastore: enable_datastore,
}
