"""Every document that we answer with, validated by OpenNebula's own schemas."""

from __future__ import annotations

import asyncio
from functools import cache
from pathlib import Path

import pytest
from lxml import etree

from holdfast.api.methods import REGISTRY
from holdfast.api.responder import Responder
from holdfast.drivers.tm.account import Progress
from holdfast.engine.ports import Stored
from holdfast.lifecycle import operations
from holdfast.model.vm import Operation
from tests.unit.api.world import ADMIN_SESSION, FakeController, call_body, installation, reply_values, vm_with_snapshots

XSD = Path(__file__).parents[2] / "data" / "xsd"
NAMESPACE = "http://opennebula.org/XMLSchema"

DOCUMENTS: list[tuple[str, tuple[object, ...], str]] = [
    ("one.vm.info", (1,), "vm"),
    ("one.vm.info", (2,), "vm"),
    ("one.vmpool.info", (-2, -1, -1, -2), "vm_pool"),
    ("one.vmpool.infoextended", (-2, -1, -1, -2), "vm_pool_extended"),
    ("one.vmpool.infoset", ("0,1", False), "vm_pool"),
    ("one.vmpool.infoset", ("0,1", True), "vm_pool_extended"),
    ("one.vm.monitoring", (1,), "monitoring_data"),
    ("one.vmpool.monitoring", (-2,), "monitoring_data"),
    ("one.host.info", (2,), "host"),
    ("one.hostpool.info", (), "host_pool"),
    ("one.datastore.info", (0,), "datastore"),
    ("one.datastorepool.info", (), "datastore_pool"),
    ("one.image.info", (0,), "image"),
    ("one.image.info", (1,), "image"),
    ("one.imagepool.info", (-2, -1, -1), "image_pool"),
    ("one.hook.info", (0,), "hook"),
    ("one.hook.info", (1,), "hook"),
    ("one.hookpool.info", (), "hook_pool"),
    ("one.user.info", (0,), "user"),
    ("one.userpool.info", (), "user_pool"),
    ("one.group.info", (1,), "group"),
    ("one.grouppool.info", (), "group_pool"),
    ("one.cluster.info", (0,), "cluster"),
    ("one.clusterpool.info", (), "cluster_pool"),
    ("one.zone.info", (0,), "zone"),
    ("one.zonepool.info", (), "zone_pool"),
    ("one.zone.raftstatus", (), "raftstatus"),
    ("one.acl.info", (), "acl_pool"),
    ("one.templatepool.info", (-2, -1, -1), "vmtemplate_pool"),
    ("one.system.config", (), "opennebula_configuration"),
    ("one.host.monitoring", (2,), "monitoring_data"),
    ("one.hostpool.monitoring", (), "monitoring_data"),
]

WITHOUT_SCHEMA = {"one.failover.info", "one.failoverpool.info", "one.hooklog.info", "one.template.info"} | {
    "one.vm.repairinfo",
    "one.vm.repairoutput",
    "one.storage.check",
}
"""Documents of our own, one whose root has no schema, and one that is never there."""

STRAYS = {
    "one.system.config": ["HOLDFAST"],
    "one.host.monitoring": ["ID"],
    "one.hostpool.monitoring": ["ID"],
}
"""Elements that the schema complains of.  HOLDFAST is ours; the schema of monitoring data is that of VMs, where ID
comes before TIMESTAMP, and OpenNebula's own daemon answers for hosts as we do."""


@cache
def schema(name: str) -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(XSD / f"{name}.xsd"))


def document(method: str, arguments: tuple[object, ...], *objects: Stored) -> str:
    controller = installation()
    controller.put(*objects)
    return answer(controller, method, arguments)


def answer(controller: FakeController, method: str, arguments: tuple[object, ...]) -> str:
    pieces = asyncio.run(Responder(controller).reply(call_body(method, ADMIN_SESSION, *arguments)))
    succeeded, value, *_ = reply_values(b"".join(pieces))
    assert succeeded == "1", value
    return value


def complaints(text: str, schema_name: str) -> list[str]:
    root = etree.fromstring(text)
    for element in root.iter():
        element.tag = f"{{{NAMESPACE}}}{element.tag}"
    etree.cleanup_namespaces(root)
    checked = etree.fromstring(etree.tostring(root))
    validator = schema(schema_name)
    validator.validate(checked)
    return [error.message.replace(f"{{{NAMESPACE}}}", "") for error in validator.error_log]


@pytest.mark.parametrize(("method", "arguments", "schema_name"), DOCUMENTS)
def test_the_document_is_valid(method: str, arguments: tuple[object, ...], schema_name: str) -> None:
    allowed = STRAYS.get(method, [])
    found = complaints(document(method, arguments), schema_name)
    unexpected = [each for each in found if not any(f"'{stray}'" in each for stray in allowed)]
    assert unexpected == []
    assert bool(found) == bool(allowed)


OF_VM_1: list[tuple[str, tuple[object, ...], str]] = [
    ("one.vm.info", (1,), "vm"),
    ("one.vmpool.info", (-2, -1, -1, -1), "vm_pool"),
    ("one.vmpool.infoextended", (-2, -1, -1, -1), "vm_pool_extended"),
    ("one.vmpool.infoset", ("1", True), "vm_pool_extended"),
]


@pytest.mark.parametrize(("method", "arguments", "schema_name"), OF_VM_1)
def test_a_vm_with_snapshots_and_every_action_in_its_history_is_valid(
    method: str, arguments: tuple[object, ...], schema_name: str
) -> None:
    text = document(method, arguments, vm_with_snapshots(1))
    assert complaints(text, schema_name) == []
    assert ("<SNAPSHOTS>" in text) == (method != "one.vmpool.info")


@pytest.mark.parametrize("total", [0, 1 << 30])
def test_a_vm_whose_files_are_being_moved_says_so_and_is_valid(total: int) -> None:
    controller = installation()
    before = answer(controller, "one.vm.info", (1,))
    controller.transfers.progress[1] = Progress("MV ssh host1:/d/<0>/1 host2:/d/0/1 1 0", 2, 5, total // 4, total)
    text = answer(controller, "one.vm.info", (1,))
    assert complaints(text, "vm") == []
    template = etree.fromstring(text).find("USER_TEMPLATE")
    assert template is not None
    assert template.findtext("TRANSFER") == "MV ssh host1:/d/<0>/1 host2:/d/0/1 1 0"
    assert template.findtext("TRANSFER_STEP") == "2/5"
    names = ("TRANSFER_BYTES", "TRANSFER_TOTAL_BYTES", "TRANSFER_PERCENT")
    shown = [template.findtext(name) for name in names]
    assert shown == (["268435456", "1073741824", "25"] if total else [None, None, None])
    controller.transfers.progress.clear()
    assert answer(controller, "one.vm.info", (1,)) == before, "what is cached knows nothing of it"


OPERATIONS = [
    Operation("disk-attach", 1, 1, {"DISK_ID": "1", "TYPE": "fs", "SIZE": "16", "TARGET": "sdb"}),
    Operation("disk-detach", 0, 0),
    Operation("nic-attach", 1, values={"NIC_ID": "1", "BRIDGE": "br0"}),
    Operation("nic-detach", 0),
    Operation("snapshot-create", 2, values={"NAME": "snapshot-2", "TIME": "1795335300", "SYSTEM_DISK_SIZE": "1024"}),
    Operation("snapshot-revert", 0),
    Operation("snapshot-delete", 0),
    Operation("disk-snapshot-create", 4, 0, {"NAME": "", "SIZE": "1024", "DATE": "1795335300"}),
    Operation("disk-snapshot-revert", 1, 0),
    Operation("disk-snapshot-delete", 1, 0),
    Operation("disk-resize", 0, 0, {"SIZE": "2048", "OLD_SIZE": "1024"}),
    Operation("resize", values={"CPU": "2", "VCPU": "2", "MEMORY": "512", "OLD_CPU": "0.1", "OLD_MEMORY": "64"}),
]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.action)
def test_a_vm_with_an_operation_under_way_is_valid_and_so_it_is_afterwards(operation: Operation) -> None:
    begun = operations.begin(vm_with_snapshots(1), operation)
    answered = {"HYPERVISOR_ID": "snap-2"} if operation.action == "snapshot-create" else {}
    for stage in (begun, operations.complete(begun, answered), operations.undo(begun)):
        for method, arguments, schema_name in OF_VM_1:
            assert complaints(document(method, arguments, stage), schema_name) == []


@pytest.mark.parametrize("total", [0, 4 << 20])
def test_the_progress_of_an_import_is_shown_and_not_kept(total: int) -> None:
    controller = installation()
    responder = Responder(controller)

    def template() -> dict[str, str | None]:
        _, document, _ = reply_values(
            b"".join(asyncio.run(responder.reply(call_body("one.image.info", ADMIN_SESSION, 1, False))))
        )
        assert complaints(document, "image") == []
        return {child.tag: child.text for child in etree.fromstring(document).findall("TEMPLATE/*")}

    before = template()
    controller.imports.progress[1] = Progress(done_bytes=1 << 20, total_bytes=total)
    shown = {"IMPORT_BYTES": "1048576"}
    if total:
        shown |= {"IMPORT_TOTAL_BYTES": "4194304", "IMPORT_PERCENT": "25"}
    assert template() == {**before, **shown}
    controller.imports.progress.clear()
    assert template() == before


def test_every_document_of_the_api_is_validated() -> None:
    documents = {name for name, method in REGISTRY.items() if method.returns == "string"}
    validated = {method for method, _, _ in DOCUMENTS}
    assert documents - validated == WITHOUT_SCHEMA | {"one.system.version"}


def test_a_document_out_of_order_would_be_noticed() -> None:
    assert complaints("<ACL_POOL><ACL><USER/><ID>1</ID></ACL></ACL_POOL>", "acl_pool")
