"""The registry against OpenNebula's own table of methods, and commands as the engine gets them."""

from __future__ import annotations

import asyncio
import csv
import dataclasses
from pathlib import Path

import pytest

from holdfast.api.methods import REGISTRY, changes, vm_changes
from holdfast.api.methods.method import Param
from holdfast.api.methods.opennebula import NAMES
from holdfast.api.responder import Responder
from holdfast.engine import commands
from holdfast.engine.commands import Command
from holdfast.model.template import Template
from holdfast.model.template_text import parse_text
from tests.unit.api.world import (
    ADMIN_SESSION,
    GUEST_SESSION,
    FakeController,
    call_body,
    datastore,
    fault_of,
    host,
    installation,
    reply_values,
)

TABLE = Path(__file__).parents[2] / "data" / "opennebula_methods.csv"
OURS = {"one.failover", "one.failoverpool", "one.storage"}


def original() -> dict[str, str]:
    with TABLE.open() as lines:
        return {row["method"]: row["arguments"] for row in csv.DictReader(lines)}


def written(param: Param) -> str:
    kind = {"bool": "boolean", "append": "int"}.get(param.type, param.type)
    if param.default is None:
        return kind
    default = int(param.default) if param.type == "append" else param.default
    return f"{kind}={str(default).lower() if isinstance(default, bool) else default}"


def answer(controller: FakeController, method: str, *arguments: object) -> bytes:
    body = call_body(method, ADMIN_SESSION, *arguments)
    return b"".join(asyncio.run(Responder(controller).reply(body)))


def test_every_name_of_opennebula_is_known() -> None:
    assert set(original()) == NAMES


def test_only_failovers_repairs_and_the_check_of_storage_are_our_own() -> None:
    ours = {name for name in set(REGISTRY) - NAMES if not name.startswith("one.vm.repair")}
    assert {name.rsplit(".", 1)[0] for name in ours} == OURS


@pytest.mark.parametrize("name", sorted(set(REGISTRY) & NAMES))
def test_types_and_defaults_are_opennebulas(name: str) -> None:
    assert " ".join(map(written, REGISTRY[name].params)) == original()[name]


@pytest.mark.parametrize("method", REGISTRY.values(), ids=lambda method: method.name)
def test_every_method_explains_itself(method: object) -> None:
    assert isinstance(method, type(REGISTRY["one.vm.info"]))
    assert method.help.endswith(".")
    assert method.returns in ("int", "string")


CALLS: list[tuple[str, tuple[object, ...], Command]] = [
    ("one.host.allocate", ("h", "im", "vm", -1), commands.AllocateHost("h", "im", "vm", -1)),
    ("one.host.delete", (2,), commands.DeleteHost(2)),
    ("one.host.update", (2, "A=1", 1), commands.UpdateHost(2, "A=1", True)),
    ("one.host.update", (2, "A=1"), commands.UpdateHost(2, "A=1", False)),
    ("one.host.rename", (2, "n"), commands.RenameHost(2, "n")),
    ("one.host.status", (2, 1), commands.SetHostStatus(2, 1)),
    ("one.datastore.allocate", ("NAME=d", -1), commands.AllocateDatastore("NAME=d", -1)),
    ("one.datastore.delete", (1,), commands.DeleteDatastore(1)),
    ("one.datastore.update", (1, "A=1", 0), commands.UpdateDatastore(1, "A=1", False)),
    ("one.datastore.rename", (1, "n"), commands.RenameDatastore(1, "n")),
    ("one.datastore.enable", (0, False), commands.EnableDatastore(0, False)),
    ("one.image.allocate", ("NAME=i", 1), commands.AllocateImage("NAME=i", 1, False)),
    ("one.image.allocate", ("NAME=i", 1, True), commands.AllocateImage("NAME=i", 1, True)),
    ("one.image.delete", (0,), commands.DeleteImage(0, False)),
    ("one.image.update", (0, "A=1"), commands.UpdateImage(0, "A=1")),
    ("one.image.rename", (0, "n"), commands.RenameImage(0, "n")),
    ("one.image.enable", (0, True), commands.EnableImage(0, True)),
    ("one.image.persistent", (0, True), commands.PersistImage(0, True)),
    ("one.image.clone", (0, "n"), commands.CloneImage(0, "n", -1)),
    ("one.image.clone", (0, "n", 100), commands.CloneImage(0, "n", 100)),
    ("one.image.chtype", (0, "OS"), commands.ChangeImageType(0, "OS")),
    ("one.image.lock", (0, 4, True), commands.LockImage(0, 4, True)),
    ("one.image.unlock", (0,), commands.UnlockImage(0)),
    ("one.vm.allocate", ("CPU=1",), commands.AllocateVm("CPU=1", False)),
    ("one.vm.deploy", (0, 2), commands.DeployVm(0, 2, False, -1, "")),
    ("one.vm.deploy", (0, 2, True, 1, "A=1"), commands.DeployVm(0, 2, True, 1, "A=1")),
    ("one.vm.migrate", (0, 2, True), commands.MigrateVm(0, 2, True, False, -1, 0)),
    ("one.vm.migrate", (0, 2, False, True, 1, 2), commands.MigrateVm(0, 2, False, True, 1, 2)),
    ("one.vm.action", ("poweroff-hard", 0), commands.VmAction(0, "poweroff-hard")),
    ("one.vm.recover", (0, 2), commands.RecoverVm(0, 2)),
    ("one.vm.update", (0, "A=1", 1), commands.UpdateVm(0, "A=1", True)),
    ("one.vm.rename", (0, "n"), commands.RenameVm(0, "n")),
    ("one.vm.attach", (0, "DISK=[IMAGE_ID=1]"), commands.AttachDisk(0, "DISK=[IMAGE_ID=1]")),
    ("one.vm.detach", (0, 2), commands.DetachDisk(0, 2)),
    ("one.vm.attachnic", (0, "NIC=[BRIDGE=br0]"), commands.AttachNic(0, "NIC=[BRIDGE=br0]")),
    ("one.vm.detachnic", (0, 1), commands.DetachNic(0, 1)),
    ("one.vm.diskresize", (0, 2, "2048"), commands.ResizeDisk(0, 2, "2048")),
    ("one.vm.resize", (0, "MEMORY=512"), commands.ResizeVm(0, "MEMORY=512", True)),
    ("one.vm.resize", (0, "MEMORY=512", False), commands.ResizeVm(0, "MEMORY=512", False)),
    ("one.vm.snapshotcreate", (0, "before"), commands.CreateSnapshot(0, "before")),
    ("one.vm.snapshotrevert", (0, 3), commands.RevertSnapshot(0, 3)),
    ("one.vm.snapshotdelete", (0, 3), commands.DeleteSnapshot(0, 3)),
    ("one.vm.disksnapshotcreate", (0, 1, "before"), commands.CreateDiskSnapshot(0, 1, "before")),
    ("one.vm.disksnapshotrevert", (0, 1, 3), commands.RevertDiskSnapshot(0, 1, 3)),
    ("one.vm.disksnapshotdelete", (0, 1, 3), commands.DeleteDiskSnapshot(0, 1, 3)),
    ("one.vm.disksnapshotrename", (0, 1, 3, "after"), commands.RenameDiskSnapshot(0, 1, 3, "after")),
    ("one.hook.allocate", ("NAME=h",), commands.AllocateHook("NAME=h")),
    ("one.hook.delete", (0,), commands.DeleteHook(0)),
    ("one.hook.update", (0, "A=1"), commands.UpdateHook(0, "A=1")),
    ("one.hook.rename", (0, "n"), commands.RenameHook(0, "n")),
    ("one.hook.lock", (0, 3), commands.LockHook(0, 3, False)),
    ("one.hook.unlock", (0,), commands.UnlockHook(0)),
    ("one.hook.retry", (0, 1), commands.RetryHook(0, 1)),
    ("one.failover.allocate", (2, "migrate"), commands.AllocateFailover(2, "migrate", "")),
    ("one.failover.retry", (0,), commands.RetryFailover(0)),
    ("one.failover.confirm", (0, "pulled the plug"), commands.ConfirmFailover(0, "pulled the plug")),
    ("one.failover.abort", (0,), commands.AbortFailover(0)),
]


@pytest.mark.parametrize(("method", "arguments", "command"), CALLS)
def test_a_change_reaches_the_engine_as_its_command(
    method: str, arguments: tuple[object, ...], command: Command
) -> None:
    controller = installation()
    assert reply_values(answer(controller, method, *arguments)) == ["1", "7", "0"]
    [(actor, received)] = controller.calls
    assert received == command
    assert actor.name == "oneadmin"


def test_every_command_of_the_engine_has_a_method() -> None:
    public = {
        kind
        for kind in vars(commands).values()
        if isinstance(kind, type) and dataclasses.is_dataclass(kind) and not kind.__name__.startswith("_")
    }
    assert public - {Command} == {type(command) for _, _, command in CALLS}
    tables = (*changes.METHODS, *vm_changes.METHODS)
    assert {method.name for method in tables} == {method for method, _, _ in CALLS}


@pytest.mark.parametrize(
    ("method", "arguments"),
    [("one.vm.snapshotcreate", (5, "before")), ("one.vm.disksnapshotcreate", (5, 0, "before"))],
)
def test_a_new_snapshot_is_answered_by_its_own_id(method: str, arguments: tuple[object, ...]) -> None:
    controller = installation()
    controller.answer = 0
    assert reply_values(answer(controller, method, *arguments)) == ["1", "0", "0"]


@pytest.mark.parametrize("method", [method.name for method in vm_changes.METHODS])
def test_an_ordinary_user_changes_no_vm(method: str) -> None:
    arguments = next(arguments for name, arguments, _ in CALLS if name == method)
    controller = installation()
    reply = asyncio.run(Responder(controller).reply(call_body(method, GUEST_SESSION, *arguments)))
    succeeded, message, code, *_ = reply_values(b"".join(reply))
    assert (succeeded, code) == ("0", "512")
    assert message.startswith(f"[{method}] User [2] not authorized to perform action on virtual machine")
    assert controller.calls == []


def test_arguments_beyond_the_declared_ones_are_ignored() -> None:
    assert reply_values(answer(installation(), "one.hookpool.info", -1, -1, -1))[0] == "1"
    assert reply_values(answer(installation(), "one.host.delete", 2, "more", True))[0] == "1"


@pytest.mark.parametrize(
    ("method", "arguments", "named"),
    [
        ("one.vm.info", (), "oid"),
        ("one.vm.info", ("0",), "oid must be an int, not a string"),
        ("one.vm.info", (True,), "oid must be an int, not a boolean"),
        ("one.vm.info", (0, 1), "decrypt must be a boolean, not an int"),
        ("one.vm.action", (0, "stop"), "action must be a string, not an int"),
        ("one.vm.migrate", (0, 2), "live"),
        ("one.vm.migrate", (0, 2, 1), "live must be a boolean, not an int"),
        ("one.vm.attach", (0,), "one.vm.attach needs text"),
        ("one.vm.diskresize", (0, 0, 2048), "size must be a string, not an int"),
        ("one.vm.snapshotcreate", (0,), "one.vm.snapshotcreate needs name"),
        ("one.vm.disksnapshotrevert", (0, 1), "one.vm.disksnapshotrevert needs snap_id"),
    ],
)
def test_missing_and_wrongly_typed_arguments_are_type_faults(
    method: str, arguments: tuple[object, ...], named: str
) -> None:
    controller = installation()
    code, text = fault_of(answer(controller, method, *arguments))
    assert code == -501
    assert named in text
    assert controller.calls == []


def test_a_64_bit_value_is_taken_where_an_int_is_declared_if_it_fits() -> None:
    wide = call_body("one.vm.info", ADMIN_SESSION, 0).replace(b"<i4>0</i4>", b"<i8>%d</i8>")
    responder = Responder(installation())
    fits = b"".join(asyncio.run(responder.reply(wide % 0)))
    assert reply_values(fits)[0] == "1"
    assert fault_of(b"".join(asyncio.run(responder.reply(wide % 2**32))))[0] == -501


def test_an_update_is_a_replacement_or_a_merge_and_nothing_else() -> None:
    controller = installation()
    succeeded, message, code, *_ = reply_values(answer(controller, "one.vm.update", 0, "A=1", 2))
    assert (succeeded, code) == ("0", "4096")
    assert message.startswith("[one.vm.update] Wrong update type 2")
    assert controller.calls == []


@pytest.mark.parametrize("kind", ["host", "datastore"])
def test_an_update_with_masks_keeps_the_stored_secrets(kind: str) -> None:
    secret = Template([("PASSWORD", "geheim")])
    controller = installation()
    controller.put(host(2, template=secret), datastore(2, template=secret))
    reply = answer(controller, f"one.{kind}.update", 2, 'PASSWORD="********"\nNOTE=new')
    assert reply_values(reply)[0] == "1"
    command = controller.calls[0][1]
    assert isinstance(command, commands.UpdateHost | commands.UpdateDatastore)
    assert parse_text(command.text) == Template([("PASSWORD", "geheim"), ("NOTE", "new")])


def test_an_update_of_an_object_that_is_not_there_is_left_to_the_engine() -> None:
    controller = installation()
    answer(controller, "one.host.update", 99, "A=1")
    assert controller.calls[0][1] == commands.UpdateHost(99, "A=1")
