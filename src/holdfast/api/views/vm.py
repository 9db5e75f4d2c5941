"""VMs as XML: the full body of ``one.vm.info``, the short one of ``one.vmpool.info``.

Order and form of the elements are those of OpenNebula.  The short body has exactly one HISTORY, the newest: clients
that look for the VMs of a host rely on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from holdfast.api.views import snapshots
from holdfast.api.views.markup import PERMISSIONS, embedded, text
from holdfast.api.views.owners import owner
from holdfast.drivers.tm.account import Progress
from holdfast.model.template import Section, Template
from holdfast.model.template_xml import cdata, write_xml
from holdfast.model.user import User
from holdfast.model.vm import History, Vm

_DISK_IN_POOL = (
    "DISK_ID",
    "DATASTORE",
    "DATASTORE_ID",
    "IMAGE",
    "IMAGE_ID",
    "SIZE",
    "TYPE",
    "CLONE",
    "CLONE_TARGET",
    "LN_TARGET",
    "DISK_SNAPSHOT_TOTAL_SIZE",
)
_NIC_IN_POOL = ("IP", "IP6", "MAC", "NETWORK", "NETWORK_ID", "NIC_ID", "SECURITY_GROUPS")
_GRAPHICS_IN_POOL = ("LISTEN", "PORT", "TYPE")


def full(vm: Vm, users: Mapping[int, User]) -> str:
    """The VM with its whole history."""
    return _body(vm, users, vm.history)


def extended(vm: Vm, users: Mapping[int, User]) -> str:
    """The full body with the newest history record only (``one.vmpool.infoextended``)."""
    return _body(vm, users, vm.history[-1:])


def _body(vm: Vm, users: Mapping[int, User], history: Iterable[History]) -> str:
    records = "".join(_history(vm.oid, record) for record in history)
    return (
        f"<VM><ID>{vm.oid}</ID>{owner(vm, users)}<NAME>{text(vm.name)}</NAME>{PERMISSIONS[vm.permissions & 0o777]}"
        f"<LAST_POLL>{vm.last_poll}</LAST_POLL><STATE>{vm.state:d}</STATE><LCM_STATE>{vm.lcm_state:d}</LCM_STATE>"
        f"<PREV_STATE>{vm.prev_state:d}</PREV_STATE><PREV_LCM_STATE>{vm.prev_lcm_state:d}</PREV_LCM_STATE>"
        f"<RESCHED>{vm.resched:d}</RESCHED><STIME>{vm.stime}</STIME><ETIME>{vm.etime}</ETIME>"
        f"<DEPLOY_ID>{text(vm.deploy_id)}</DEPLOY_ID><MONITORING>{write_xml(vm.monitoring)}</MONITORING>"
        f"<SCHED_ACTIONS></SCHED_ACTIONS><TEMPLATE>{write_xml(_template(vm))}</TEMPLATE>"
        f"<USER_TEMPLATE>{write_xml(vm.user_template)}</USER_TEMPLATE>"
        f"<HISTORY_RECORDS>{records}</HISTORY_RECORDS>{snapshots.of_disks(vm.snapshots)}"
        "<BACKUPS><BACKUP_CONFIG/><BACKUP_IDS></BACKUP_IDS></BACKUPS></VM>"
    )


def with_transfer(fragment: bytes, progress: Progress | None) -> bytes:
    """A rendered VM with the progress of its transfer, among what OpenNebula's schema leaves open."""
    if progress is None or not progress.number:
        return fragment
    told = {"TRANSFER": progress.line, "TRANSFER_STEP": f"{progress.number}/{progress.count}"}
    if progress.total_bytes:
        told["TRANSFER_BYTES"] = str(progress.done_bytes)
        told["TRANSFER_TOTAL_BYTES"] = str(progress.total_bytes)
        told["TRANSFER_PERCENT"] = str(progress.percent)
    before, end, after = fragment.rpartition(embedded("</USER_TEMPLATE>"))
    return before + embedded(write_xml(Template(told.items()))) + end + after


def _template(vm: Vm) -> Template:
    """With TM_MAD_SYSTEM, which OpenNebula adds to a VM that was placed: its datastore's transfer driver."""
    if vm.current is None or "TM_MAD_SYSTEM" in vm.template:
        return vm.template
    return vm.template.extended([("TM_MAD_SYSTEM", vm.current.tm_mad)])


def _history(oid: int, record: History) -> str:
    return (
        f"<HISTORY><OID>{oid}</OID><SEQ>{record.seq}</SEQ><HOSTNAME>{text(record.hostname)}</HOSTNAME>"
        f"<HID>{record.hid}</HID><CID>{record.cid}</CID><STIME>{record.stime}</STIME><ETIME>{record.etime}</ETIME>"
        f"<VM_MAD>{cdata(record.vm_mad)}</VM_MAD><TM_MAD>{cdata(record.tm_mad)}</TM_MAD><DS_ID>{record.ds_id}</DS_ID>"
        f"<PLAN_ID>-2</PLAN_ID><ACTION_ID>-1</ACTION_ID>"
        f"<PSTIME>{record.pstime}</PSTIME><PETIME>{record.petime}</PETIME>"
        f"<RSTIME>{record.rstime}</RSTIME><RETIME>{record.retime}</RETIME>"
        f"<ESTIME>{record.estime}</ESTIME><EETIME>{record.eetime}</EETIME><ACTION>{record.action:d}</ACTION>"
        f"<UID>{record.uid}</UID><GID>{record.gid}</GID><REQUEST_ID>-1</REQUEST_ID></HISTORY>"
    )


def short(vm: Vm, users: Mapping[int, User]) -> str:
    """The body that lists use."""
    history = _short_history(vm.oid, vm.history[-1]) if vm.history else ""
    return (
        f"<VM><ID>{vm.oid}</ID>{owner(vm, users)}<NAME>{text(vm.name)}</NAME>"
        f"<LAST_POLL>{vm.last_poll}</LAST_POLL><STATE>{vm.state:d}</STATE><LCM_STATE>{vm.lcm_state:d}</LCM_STATE>"
        f"<RESCHED>{vm.resched:d}</RESCHED><STIME>{vm.stime}</STIME><ETIME>{vm.etime}</ETIME>"
        f"<DEPLOY_ID>{text(vm.deploy_id)}</DEPLOY_ID><TEMPLATE>{_short_template(vm.template)}</TEMPLATE>"
        f"<MONITORING>{write_xml(vm.monitoring)}</MONITORING>"
        f"<USER_TEMPLATE>{write_xml(vm.user_template)}</USER_TEMPLATE>"
        f"<HISTORY_RECORDS>{history}</HISTORY_RECORDS></VM>"
    )


def _short_template(template: Template) -> str:
    parts = [f"<{name}>{text(template.get(name))}</{name}>" for name in ("CPU", "MEMORY", "VCPU") if name in template]
    parts += (_some("DISK", disk, _DISK_IN_POOL) for disk in template.sections("DISK"))
    parts += (_some("NIC", nic, _NIC_IN_POOL) for nic in template.sections("NIC"))
    parts += (_some("GRAPHICS", graphics, _GRAPHICS_IN_POOL) for graphics in template.sections("GRAPHICS")[:1])
    return "".join(parts)


def _some(name: str, section: Section, keys: Iterable[str]) -> str:
    inner = "".join(f"<{key}>{cdata(section[key])}</{key}>" for key in keys if key in section)
    return f"<{name}>{inner}</{name}>"


def _short_history(oid: int, record: History) -> str:
    return (
        f"<HISTORY><OID>{oid}</OID><SEQ>{record.seq}</SEQ><HOSTNAME>{cdata(record.hostname)}</HOSTNAME>"
        f"<HID>{record.hid}</HID><CID>{record.cid}</CID><DS_ID>{record.ds_id}</DS_ID>"
        f"<VM_MAD>{cdata(record.vm_mad)}</VM_MAD><TM_MAD>{cdata(record.tm_mad)}</TM_MAD>"
        f"<ACTION>{cdata(str(record.action.value))}</ACTION></HISTORY>"
    )


def monitoring(vm: Vm) -> str:
    """The newest monitoring record, empty when there is none (``one.vm.monitoring``)."""
    return f"<MONITORING>{write_xml(vm.monitoring)}</MONITORING>" if len(vm.monitoring) else ""
