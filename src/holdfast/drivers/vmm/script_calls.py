"""How a hypervisor's script is called for an order: its name, its arguments, and the XML on its stdin.

The arguments are OpenNebula's; VM id and host follow at the end.  Pure functions.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, replace

from lxml import etree

from holdfast.drivers.tm.lines import disk_of
from holdfast.drivers.vmm import order_words
from holdfast.drivers.vmm.deployment import domain_name, vm_directory
from holdfast.engine.ports import Order
from holdfast.model.enums import EffectKind
from holdfast.model.errors import HoldfastError
from holdfast.model.free_text import MASK, printable
from holdfast.model.host import Host
from holdfast.model.secret_names import is_secret
from holdfast.model.storage import Datastore
from holdfast.model.vm import History, Vm

Rendered = Callable[[Vm], str]


@dataclass(frozen=True, slots=True)
class Subject:
    """The VM, the host and the stay that an order is about; ``location``: the datastores as the hosts see them.

    ``local_vms``: where the controller keeps its files about VMs, if that is where the scripts run.
    """

    order: Order
    vm: Vm
    host: Host
    location: str
    local_vms: str = ""

    @property
    def record(self) -> History:
        """The history record that the order works on."""
        return order_words.record_of(self.order, self.vm)

    @property
    def datastore(self) -> Datastore:
        """The system datastore of that stay."""
        return order_words.datastore_of(self.order, self.vm)

    @property
    def directory(self) -> str:
        """SD: where the VM's files are."""
        return vm_directory(self.location, self.record.ds_id, self.vm.oid)

    @property
    def checkpoint(self) -> str:
        """Where its memory is saved."""
        return f"{self.directory}/checkpoint"

    @property
    def deployment(self) -> str:
        """Its deployment file on the host."""
        return f"{self.directory}/{self.deployment_name}"

    @property
    def deployment_name(self) -> str:
        """The deployment file, without its directory."""
        return f"deployment.{self.record.seq}"

    @property
    def local_deployment(self) -> str:
        """The controller's own copy of the deployment file; empty when the scripts run elsewhere."""
        return f"{self.local_vms}/{self.vm.oid}/{self.deployment_name}" if self.local_vms else ""

    @property
    def deploy_id(self) -> str:
        """What the hypervisor calls the VM."""
        return self.vm.deploy_id or domain_name(self.vm.oid)

    def argument(self, name: str) -> str:
        """One of the effect's arguments, empty when it has none of this name."""
        return order_words.argument(self.order, name)

    @property
    def item(self) -> str:
        """The disk, NIC or snapshot that the operation is about."""
        return str(order_words.number(self.order, "ITEM"))

    @property
    def kind(self) -> EffectKind:
        """What is ordered."""
        return self.order.effect.kind


@dataclass(frozen=True, slots=True)
class Call:
    """A script by its name, with its own arguments."""

    action: str
    words: tuple[str, ...]


def call_of(subject: Subject, data: str) -> Call:
    """The call that carries out the order; ``data`` is what it gets on stdin; raises HoldfastError."""
    make = _CALLS.get(subject.kind)
    if make is None:
        raise HoldfastError(f"{subject.kind.value} is not offered for hosts with scripts of the site's")
    return make(subject, data)


def cancel(subject: Subject) -> Call:
    """Ends the VM on the host at once; success also when it is not there."""
    return Call("cancel", (subject.deploy_id, subject.host.name))


def action_data(subject: Subject, vm: Rendered, datastore: str) -> str:
    """VMM_DRIVER_ACTION_DATA; ``vm`` renders a VM, ``datastore`` is the system datastore's XML.

    TM_COMMAND is empty: the transfer lines of an operation are the controller's own business.
    """
    kind, other = subject.kind, subject.order.other
    starts, keeps = kind is EffectKind.VMM_DEPLOY, kind in (EffectKind.VMM_SAVE, EffectKind.VMM_RESTORE)
    root = etree.Element("VMM_DRIVER_ACTION_DATA")
    values = {
        "HOST": subject.host.name,
        "MIGR_HOST": other.name if other else "",
        "DEPLOY_ID": "" if starts else printable(subject.deploy_id),
        "LOCAL_DEPLOYMENT_FILE": subject.local_deployment if starts else "",
        "REMOTE_DEPLOYMENT_FILE": subject.deployment if starts else "",
        "CHECKPOINT_FILE": subject.checkpoint if keeps else "",
        "TM_COMMAND": "",
        "TM_COMMAND_ROLLBACK": "",
        "DISK_TARGET_PATH": f"{subject.directory}/disk.{subject.item}" if kind in _OF_A_DISK else "",
    }
    for name, text in values.items():
        etree.SubElement(root, name).text = text
    for document in (vm(_with_mark(subject)), datastore):
        root.append(etree.fromstring(document))
    return str(etree.tostring(root, encoding="unicode"))


def _with_mark(subject: Subject) -> Vm:
    """The VM with its last history record, and with ATTACH on the disk or NIC that the order is about."""
    vm, kind = replace(subject.vm, history=(subject.record,)), subject.kind
    name, key = ("DISK", "DISK_ID") if kind in _OF_A_DISK else ("NIC", "NIC_ID")
    if kind not in (*_OF_A_DISK, *_OF_A_NIC):
        return vm
    marked = [
        {**section, "ATTACH": "YES"} if section.get(key) == subject.item else dict(section)
        for section in vm.template.sections(name)
    ]
    return replace(vm, template=vm.template.with_sections(name, marked))


def _plain(action: str) -> Callable[[Subject, str], Call]:
    return lambda subject, data: Call(action, (subject.deploy_id, subject.host.name))


def _deploy(subject: Subject, data: str) -> Call:
    return Call("deploy", (subject.local_deployment or subject.deployment, subject.host.name))


def _shutdown(subject: Subject, data: str) -> Call:
    return cancel(subject) if subject.argument("HARD").upper() == "YES" else _plain("shutdown")(subject, data)


def _save(subject: Subject, data: str) -> Call:
    return Call("save", (subject.deploy_id, subject.checkpoint, subject.host.name))


def _restore(subject: Subject, data: str) -> Call:
    return Call("restore", (subject.checkpoint, subject.host.name, subject.deploy_id))


def _migrate(subject: Subject, data: str) -> Call:
    other = subject.order.other
    if other is None:
        raise HoldfastError(f"Effect {subject.order.effect.oid} does not say where the VM shall go.")
    return Call("migrate", (subject.deploy_id, other.name, subject.host.name))


def _disk(subject: Subject) -> tuple[str, str, str, str]:
    """Deploy id, file, target and the place of the target's letter in the alphabet."""
    target = disk_of(subject.vm, int(subject.item)).get("TARGET", "")
    index = str(ord(target[-1].lower()) - ord("a")) if target[-1:].isalpha() else "0"
    return subject.deploy_id, f"{subject.directory}/disk.{subject.item}", target, index


def _attach_disk(subject: Subject, data: str) -> Call:
    return Call("attach_disk", (*_disk(subject), base64.b64encode(_for_everybody(data).encode()).decode()))


def _for_everybody(data: str) -> str:
    """The action data without what a list of processes must not show: it has arguments, but no secrets."""
    root = etree.fromstring(data)
    for path in _PRIVATE:
        for element in root.findall(path):
            element.clear()
    for element in root.iter():
        if element.text and is_secret(str(element.tag)) and element.tag not in _NO_SECRETS:
            element.text = MASK
    return str(etree.tostring(root, encoding="unicode"))


def _detach_disk(subject: Subject, data: str) -> Call:
    return Call("detach_disk", _disk(subject))


def _nic(action: str) -> Callable[[Subject, str], Call]:
    def call(subject: Subject, data: str) -> Call:
        nics = [nic for nic in subject.vm.template.sections("NIC") if nic.get("NIC_ID") == subject.item]
        if not nics:
            raise HoldfastError(f"VM {subject.vm.oid} has no NIC with NIC_ID {subject.item}")
        return Call(action, (subject.deploy_id, nics[0].get("MAC", "")))

    return call


def _snapshot(action: str) -> Callable[[Subject, str], Call]:
    def call(subject: Subject, data: str) -> Call:
        name = subject.item if action == "snapshot_create" else subject.argument("HYPERVISOR_ID")
        return Call(action, (subject.deploy_id, name or f"snap-{subject.item}"))

    return call


_PRIVATE = ("VM/TEMPLATE/CONTEXT", "VM/USER_TEMPLATE")
"""May hold anything, scripts with passwords, too, and is about no disk."""
_NO_SECRETS = ("CEPH_SECRET",)
"""The number under which libvirt keeps a secret, which who attaches the disk needs."""
_OF_A_DISK = (EffectKind.VMM_ATTACH_DISK, EffectKind.VMM_DETACH_DISK)
_OF_A_NIC = (EffectKind.VMM_ATTACH_NIC, EffectKind.VMM_DETACH_NIC)
_CALLS: dict[EffectKind, Callable[[Subject, str], Call]] = {
    EffectKind.VMM_DEPLOY: _deploy,
    EffectKind.VMM_SHUTDOWN: _shutdown,
    EffectKind.VMM_CANCEL: lambda subject, data: cancel(subject),
    EffectKind.VMM_CLEANUP: lambda subject, data: cancel(subject),
    EffectKind.VMM_SAVE: _save,
    EffectKind.VMM_RESTORE: _restore,
    EffectKind.VMM_MIGRATE: _migrate,
    EffectKind.VMM_REBOOT: _plain("reboot"),
    EffectKind.VMM_RESET: _plain("reset"),
    EffectKind.VMM_ATTACH_DISK: _attach_disk,
    EffectKind.VMM_DETACH_DISK: _detach_disk,
    EffectKind.VMM_ATTACH_NIC: _nic("attach_nic"),
    EffectKind.VMM_DETACH_NIC: _nic("detach_nic"),
    EffectKind.VMM_SNAPSHOT_CREATE: _snapshot("snapshot_create"),
    EffectKind.VMM_SNAPSHOT_REVERT: _snapshot("snapshot_revert"),
    EffectKind.VMM_SNAPSHOT_DELETE: _snapshot("snapshot_delete"),
}
