"""The workflows of the matrix, as data: what was done before, what is done, and how it ends.

VM 0 has three disks (a copy of an image, a persistent image, swap) and a NIC; image 2 is there to be attached; hosts 0
and 1 and the system datastores 0 and 100 are there for it.  An act is repeated when the controller died before it had
stored anything of it, as a user
would; acts on the world can be repeated anyway.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.model.enums import FailoverState, HostState
from holdfast.model.failover import Failover
from holdfast.model.host import Host
from holdfast.model.storage import Image
from holdfast.model.vm import Vm
from holdfast.store.codec import decode
from tests.crash.site import Site, Stuck, under_way

Act = Callable[[Site], None]
_SELECT: dict[type[Any], str] = {
    Vm: "SELECT body FROM vm_pool WHERE oid = ?",
    Host: "SELECT body FROM host_pool WHERE oid = ?",
    Image: "SELECT body FROM image_pool WHERE oid = ?",
}
HERE, THERE = 0, 1
VM = 0
SECOND_DATASTORE = 100
MACHINE = """NAME="web"
CPU="1"
MEMORY="64"
VCPU="1"
VCPU_MAX="2"
MEMORY_MAX="128"
DISK=[IMAGE_ID="0"]
DISK=[IMAGE_ID="1"]
DISK=[TYPE="swap", SIZE="1"]
NIC=[MODEL="virtio"]
"""
HOOK = """NAME="host_error"
TYPE="state"
RESOURCE="HOST"
STATE="ERROR"
REMOTE="no"
COMMAND="ft/host_error.rb"
ARGUMENTS="$TEMPLATE {mode} -p 0"
ARGUMENTS_STDIN="yes"
"""


@dataclass(frozen=True)
class Workflow:
    """``name`` is a sentence's beginning; ``ends`` what the VM's state is called at the end."""

    name: str
    act: Act
    ends: str
    before: tuple[Act, ...] = ()
    until: Act | None = None
    """What must have happened besides."""
    takes_long: bool = False
    """Each run takes seconds: they are shared out, and points within transfers are left to the other workflows."""


def call(method: str, *arguments: Any) -> Act:
    """A call of the API."""

    def act(site: Site) -> None:
        site.call(method, *arguments)

    return act


def action(name: str) -> Act:
    """``one.vm.action``."""
    return call("one.vm.action", name, VM)


def recover(operation: int) -> Act:
    """``one.vm.recover``: 0 failure, 1 success, 2 retry, 3 delete, 4 recreate."""
    return call("one.vm.recover", VM, operation)


def migrate(live: bool = False, kind: int = 0, ds_id: int = -1, host_id: int = THERE) -> Act:
    """``one.vm.migrate``; kind 0 save, 1 poweroff, 2 poweroff-hard."""
    return call("one.vm.migrate", VM, host_id, live, False, ds_id, kind)


def refuse(effect: str) -> Act:
    """From now on drivers fail this."""
    return lambda site: site.change_world(lambda hosts: hosts.refusals.append(effect))


def allow(site: Site) -> None:
    """Nothing is refused any more."""
    site.change_world(lambda hosts: hosts.refusals.clear())


def cut(site: Site) -> None:
    """The VM's host is out of reach; its guest goes on."""
    site.change_world(lambda hosts: hosts.cut.append(HERE) if HERE not in hosts.cut else None)


def failed_over(site: Site) -> None:
    """Until the failover of the host is over."""

    def is_over(database: sqlite3.Connection) -> bool:
        found = database.execute("SELECT body FROM failover_pool ORDER BY oid").fetchall()
        return bool(found) and all(not decode(Failover, body).is_open for (body,) in found)

    site.wait(is_over, "the failover's end")


def hook(mode: str) -> Act:
    """The hook that switches failovers on."""
    return call("one.hook.allocate", HOOK.format(mode=mode))


def power_switch(site: Site) -> None:
    """The VM's host has one."""
    switch = site.directory / "power"
    switch.write_text("on", encoding="ascii")
    site.change_world(lambda hosts: hosts.power.update({str(HERE): str(switch)}))


def fence_device(site: Site) -> None:
    """The controller can use the power switch."""
    device = f'FENCE_AGENT="fence_dummy"\nFENCE_STATUS_FILE="{site.directory / "power"}"'
    site.call("one.host.update", HERE, device, 1)


def plug_pulled(site: Site) -> None:
    """Somebody switches the VM's host off by hand."""
    (site.directory / "power").write_text("off", encoding="ascii")


def blocked(site: Site) -> None:
    """Until the failover asks for a human."""

    def is_blocked(database: sqlite3.Connection) -> bool:
        found = database.execute("SELECT body FROM failover_pool ORDER BY oid").fetchall()
        return any(decode(Failover, body).state is FailoverState.BLOCKED for (body,) in found)

    site.wait(is_blocked, "the failover BLOCKED")


def second_vm(site: Site) -> None:
    """Another VM on the same host."""
    site.call("one.vm.allocate", 'NAME="db"\nCPU="1"\nMEMORY="64"\nDISK=[IMAGE_ID="0"]', True)
    site.call("one.vm.deploy", 1, HERE, False, -1, "")


def stored(database: sqlite3.Connection, kind: type[Any], oid: int) -> Any:
    """An object, as the store has it."""
    row = database.execute(_SELECT[kind], (oid,)).fetchone()
    return decode(kind, row[0])


def founded(site: Site) -> None:
    """Two hosts, a second system datastore, two images, and VM 0 on HOLD."""
    for name in ("here", "there"):
        site.call("one.host.allocate", name, "world", "world", -1)
    site.call("one.datastore.allocate", 'NAME="second"\nTYPE="SYSTEM_DS"\nTM_MAD="shared"', -1)
    site.call("one.image.allocate", 'NAME="base"\nTYPE="DATABLOCK"\nSIZE="1"\nFORMAT="raw"', 1, False)
    kept = 'NAME="kept"\nTYPE="DATABLOCK"\nSIZE="1"\nFORMAT="qcow2"\nPERSISTENT="YES"'
    site.call("one.image.allocate", kept, 1, False)
    site.call("one.image.allocate", 'NAME="extra"\nTYPE="DATABLOCK"\nSIZE="1"\nFORMAT="qcow2"', 1, False)
    site.wait_for_rest()
    site.wait(
        lambda database: all(stored(database, Host, oid).state is HostState.MONITORED for oid in (HERE, THERE)),
        "both hosts MONITORED",
    )
    site.call("one.vm.allocate", MACHINE, True)


def rest(site: Site, workflow: Workflow) -> None:
    """Until the workflow has its end and nothing is under way any more."""
    if workflow.until is not None:
        workflow.until(site)

    def is_over(database: sqlite3.Connection) -> bool:
        return not under_way(database) and stored(database, Vm, VM).state_name == workflow.ends

    try:
        site.wait(is_over, f"the VM {workflow.ends} and all effects answered")
    except Stuck as error:
        vm = vm_of(site)
        said = vm.user_template.get("ERROR") or vm.user_template.get("SCHED_MESSAGE")
        raise Stuck(f"{error}; it is {vm.state_name}: {said}") from None


def vm_of(site: Site) -> Vm:
    """VM 0 as it is stored."""
    with site.journal() as database:
        vm: Vm = stored(database, Vm, VM)
    return vm


def image_lost(site: Site) -> None:
    """Somebody moves the image's file away."""
    _image(site).rename(site.directory / "image")


def image_found(site: Site) -> None:
    """It is back."""
    if (site.directory / "image").exists():
        (site.directory / "image").rename(_image(site))


def _image(site: Site) -> Path:
    with site.journal() as database:
        return Path(stored(database, Image, 0).source)


deploy = call("one.vm.deploy", VM, HERE, False, -1, "")
deploy_there = call("one.vm.deploy", VM, THERE, False, -1, "")
attach_disk = call("one.vm.attach", VM, 'DISK=[IMAGE_ID="2"]')
detach_disk = call("one.vm.detach", VM, 3)
attach_nic = call("one.vm.attachnic", VM, 'NIC=[MODEL="virtio"]')
detach_nic = call("one.vm.detachnic", VM, 1)
snapshot = call("one.vm.snapshotcreate", VM, "first")
disk_snapshot = call("one.vm.disksnapshotcreate", VM, 1, "first")
disk_resize = call("one.vm.diskresize", VM, 0, "2")
confirm = call("one.failover.confirm", 0, "I pulled the plug")
RUNS = (deploy,)
OFF = (deploy, action("poweroff-hard"))
SUSPENDED = (deploy, action("suspend"))
STOPPED = (deploy, action("stop"))
UNDEPLOYED = (deploy, action("undeploy"))
BOOT_FAILED = (refuse("vmm.deploy"), deploy, allow)
PROLOG_FAILED = (image_lost, deploy, image_found)
EPILOG_FAILED = (deploy, refuse("tm.epilog"), action("terminate-hard"), allow)
STOP_FAILED = (deploy, refuse("tm.stop"), action("stop"), allow)
PROVEN_DEAD = (
    deploy,
    call("one.host.status", THERE, 1),
    hook("-m"),
    power_switch,
    cut,
    blocked,
    plug_pulled,
    confirm,
)
MOVE_FAILED = (*OFF, refuse("tm.migrate"), migrate(ds_id=SECOND_DATASTORE), allow)
RESTORE_FAILED = (*STOPPED, refuse("vmm.restore"), deploy_there, allow)

_PLACES = (
    Workflow("deploy", deploy, "RUNNING"),
    Workflow("poweroff", action("poweroff"), "POWEROFF", RUNS),
    Workflow("poweroff-hard", action("poweroff-hard"), "POWEROFF", RUNS),
    Workflow("resume of a VM that is off", action("resume"), "RUNNING", OFF),
    Workflow("suspend", action("suspend"), "SUSPENDED", RUNS),
    Workflow("resume of a suspended VM", action("resume"), "RUNNING", SUSPENDED),
    Workflow("stop", action("stop"), "STOPPED", RUNS),
    Workflow("stop of a suspended VM", action("stop"), "STOPPED", SUSPENDED),
    Workflow("deploy of a stopped VM on another host", deploy_there, "RUNNING", STOPPED),
    Workflow("undeploy", action("undeploy"), "UNDEPLOYED", RUNS),
    Workflow("undeploy-hard", action("undeploy-hard"), "UNDEPLOYED", RUNS),
    Workflow("undeploy of a VM that is off", action("undeploy"), "UNDEPLOYED", OFF),
    Workflow("deploy of an undeployed VM on another host", deploy_there, "RUNNING", UNDEPLOYED),
    Workflow("terminate of a running VM", action("terminate"), "DONE", RUNS),
    Workflow("terminate-hard of a running VM", action("terminate-hard"), "DONE", RUNS),
    Workflow("terminate of a VM that is off", action("terminate"), "DONE", OFF),
    Workflow("terminate of a suspended VM", action("terminate"), "DONE", SUSPENDED),
    Workflow("terminate of a stopped VM", action("terminate"), "DONE", STOPPED),
)
_MOVES = (
    Workflow("migrate (save)", migrate(), "RUNNING", RUNS),
    Workflow("migrate (save) to another datastore", migrate(ds_id=SECOND_DATASTORE), "RUNNING", RUNS),
    Workflow("migrate (poweroff)", migrate(kind=1), "RUNNING", RUNS),
    Workflow("migrate (poweroff-hard)", migrate(kind=2), "RUNNING", RUNS),
    Workflow("migrate (live)", migrate(live=True), "RUNNING", RUNS),
    Workflow("migrate of a VM that is off", migrate(), "POWEROFF", OFF),
    Workflow("migrate of a VM that is off, to another datastore", migrate(ds_id=SECOND_DATASTORE), "POWEROFF", OFF),
    Workflow("migrate of an UNKNOWN VM whose host is proven dead", migrate(), "RUNNING", PROVEN_DEAD, failed_over),
    Workflow("migrate of a suspended VM", migrate(ds_id=SECOND_DATASTORE), "SUSPENDED", SUSPENDED),
)
_DEVICES = (
    Workflow("disk attach to a running VM", attach_disk, "RUNNING", RUNS),
    Workflow("disk detach from a running VM", detach_disk, "RUNNING", (*RUNS, attach_disk)),
    Workflow("disk attach to a VM that is off", attach_disk, "POWEROFF", OFF),
    Workflow("disk detach from a VM that is off", detach_disk, "POWEROFF", (*OFF, attach_disk)),
    Workflow("NIC attach", attach_nic, "RUNNING", RUNS),
    Workflow("NIC detach", detach_nic, "RUNNING", (*RUNS, attach_nic)),
    Workflow("snapshot", snapshot, "RUNNING", RUNS),
    Workflow("snapshot revert", call("one.vm.snapshotrevert", VM, 0), "RUNNING", (*RUNS, snapshot)),
    Workflow("snapshot delete", call("one.vm.snapshotdelete", VM, 0), "RUNNING", (*RUNS, snapshot)),
    Workflow("disk snapshot of a running VM", disk_snapshot, "RUNNING", RUNS),
    Workflow("disk snapshot of a VM that is off", disk_snapshot, "POWEROFF", OFF),
    Workflow("disk snapshot revert", call("one.vm.disksnapshotrevert", VM, 1, 0), "POWEROFF", (*OFF, disk_snapshot)),
    Workflow(
        "disk snapshot delete",
        call("one.vm.disksnapshotdelete", VM, 1, 1),
        "POWEROFF",
        (*OFF, disk_snapshot, disk_snapshot, call("one.vm.disksnapshotrevert", VM, 1, 0)),
    ),
    Workflow("resize", call("one.vm.resize", VM, 'CPU="2"\nVCPU="2"\nMEMORY="128"', True), "RUNNING", RUNS),
    Workflow("disk resize of a running VM", disk_resize, "RUNNING", RUNS),
    Workflow("disk resize of a VM that is off", disk_resize, "POWEROFF", OFF),
)
_RECOVERIES = (
    Workflow("recover --retry of a failed boot", recover(2), "RUNNING", BOOT_FAILED),
    Workflow("recover --delete of a failed boot", recover(3), "DONE", BOOT_FAILED),
    Workflow("recover --recreate of a failed boot", recover(4), "RUNNING", BOOT_FAILED),
    Workflow("recover --recreate of a running VM", recover(4), "RUNNING", RUNS),
    Workflow("recover --delete of a running VM", recover(3), "DONE", RUNS),
    Workflow("recover --retry of a failed prolog", recover(2), "RUNNING", PROLOG_FAILED),
    Workflow("recover --success of a failed prolog, which is a lie", recover(1), "BOOT_FAILURE", PROLOG_FAILED),
    Workflow("recover --delete of a failed prolog", recover(3), "DONE", PROLOG_FAILED),
    Workflow("recover --retry of a failed epilog", recover(2), "DONE", EPILOG_FAILED),
    Workflow("recover --retry of a failed stop", recover(2), "STOPPED", STOP_FAILED),
    Workflow("recover --retry of a failed move", recover(2), "POWEROFF", MOVE_FAILED),
    Workflow("recover --retry of a failed restore", recover(2), "RUNNING", RESTORE_FAILED),
    Workflow("recover --delete of a failed restore", recover(3), "DONE", RESTORE_FAILED),
)
_FAILURES = (
    Workflow("deploy that cannot boot", deploy, "BOOT_FAILURE", (refuse("vmm.deploy"),)),
    Workflow("deploy without its image", deploy, "PROLOG_FAILURE", (image_lost,)),
    Workflow("poweroff that fails", action("poweroff"), "RUNNING", (*RUNS, refuse("vmm.shutdown"))),
    Workflow("suspend that fails", action("suspend"), "RUNNING", (*RUNS, refuse("vmm.save"))),
    Workflow("stop whose files cannot be moved", action("stop"), "EPILOG_STOP_FAILURE", (*RUNS, refuse("tm.stop"))),
    Workflow("migrate (live) that fails", migrate(live=True), "RUNNING", (*RUNS, refuse("vmm.migrate"))),
    Workflow("migrate (save) that cannot save", migrate(), "RUNNING", (*RUNS, refuse("vmm.save"))),
    Workflow("migrate (save) that cannot restore", migrate(), "BOOT_MIGRATE_FAILURE", (*RUNS, refuse("vmm.restore"))),
    Workflow("disk attach that fails", attach_disk, "RUNNING", (*RUNS, refuse("vmm.attach_disk"))),
    Workflow(
        "terminate whose files cannot be removed", action("terminate"), "EPILOG_FAILURE", (*OFF, refuse("tm.epilog"))
    ),
)
_IMAGES = (
    Workflow("image create", call("one.image.allocate", 'NAME="fourth"\nTYPE="DATABLOCK"\nSIZE="1"', 1, False), "HOLD"),
    Workflow("image delete", call("one.image.delete", 2, False), "HOLD"),
)
_FAILOVERS = (
    Workflow(
        "failover that moves two VMs",
        cut,
        "RUNNING",
        (*RUNS, second_vm, hook("-m"), power_switch, fence_device),
        failed_over,
        takes_long=True,
    ),
    Workflow(
        "failover that an operator confirms",
        confirm,
        "RUNNING",
        (*RUNS, hook("-m"), power_switch, cut, blocked, plug_pulled),
        failed_over,
    ),
    Workflow(
        "failover that makes VMs anew",
        cut,
        "RUNNING",
        (*RUNS, hook("-r"), power_switch, fence_device),
        failed_over,
        takes_long=True,
    ),
    Workflow(
        "failover that moves a suspended VM",
        cut,
        "SUSPENDED",
        (*SUSPENDED, hook("-m"), power_switch, fence_device),
        failed_over,
        takes_long=True,
    ),
)
WORKFLOWS = (*_PLACES, *_MOVES, *_DEVICES, *_RECOVERIES, *_FAILURES, *_IMAGES, *_FAILOVERS)
