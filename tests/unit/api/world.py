"""A small installation for the tests of the API, and a controller that records what it is asked to do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from xml.sax.saxutils import escape

from lxml import etree

from holdfast.drivers.tm.account import Progress
from holdfast.engine.commands import Command
from holdfast.engine.ports import Changes, Snapshot, Stored
from holdfast.engine.state import State
from holdfast.engine.storage_audit import StorageReport
from holdfast.model.enums import (
    DatastoreType,
    FailoverMode,
    FailoverState,
    HistoryAction,
    HostState,
    ImageState,
    ImageType,
    ProofKind,
    RowState,
)
from holdfast.model.errors import ActionError
from holdfast.model.failover import Evidence, Failover, Proof, Row, Step
from holdfast.model.hook import Hook, HookExecution
from holdfast.model.host import Host, HostDatastore
from holdfast.model.snapshot import DiskSnapshot, DiskSnapshots
from holdfast.model.storage import Datastore, Image
from holdfast.model.template import Template
from holdfast.model.user import Actor, User
from holdfast.model.vm import History, Vm
from holdfast.model.vm_states import LcmState, VmState

ADMIN_SESSION = "oneadmin:opennebula"
GUEST_SESSION = "ann:pa:ss"


def digest(secret: str) -> str:
    """What the store holds for a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


ONEADMIN = User(0, "oneadmin", digest("opennebula"), template=Template([("TOKEN_PASSWORD", "geheim")]))
ANN = User(2, "ann", digest("pa:ss"), gid=1, gname="users")
CIPHER = User(1, "serveradmin", digest("secret"), auth_driver="server_cipher")


class FakeTransfers:
    """Transfer files and what their lines say, as a test puts them."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[str, ...]] = {}
        self.told: dict[tuple[int, int], list[str]] = {}
        self.progress: dict[int, Progress] = {}

    async def lines_of(self, vm: Vm, file: str) -> tuple[str, ...]:
        """The lines of this file."""
        if file not in self.files:
            raise ActionError(f"Cannot read /vms/{vm.oid}/{file}: No such file or directory")
        return self.files[file]

    def told_by(self, vm_id: int, record: int) -> list[str] | None:
        """What a test says."""
        return self.told.get((vm_id, record))

    def progress_of(self, vm_id: int) -> Progress | None:
        """What a test says."""
        return self.progress.get(vm_id)


class FakeStorage:
    """Says what a test says."""

    def __init__(self) -> None:
        self.found = StorageReport()

    async def report(self) -> StorageReport:
        """What a test says."""
        return self.found


class FakeController:
    """Holds a state, records commands, and answers with ``answer`` (an id, or an exception to raise)."""

    beacon_period_s = 1.0

    def __init__(self, objects: Iterable[Stored] = (), executions: Iterable[HookExecution] = ()) -> None:
        self.state = State(Snapshot(1, list(objects), list(executions)))
        self.calls: list[tuple[Actor, Command]] = []
        self.answer: int | BaseException = 7
        self.heard: dict[int, float] = {}
        self.transfers = FakeTransfers()
        self.storage = FakeStorage()
        self.imports = FakeTransfers()

    def heard_at(self, host_id: int) -> float:
        """What a test says, never by default."""
        return self.heard.get(host_id, 0.0)

    async def call(self, actor: Actor, command: Command) -> int:
        """Records the command."""
        self.calls.append((actor, command))
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    def put(self, *objects: Stored) -> None:
        """Commits new versions."""
        self.state.publish(Changes(1, objects))


def history(seq: int = 0, hid: int = 2, hostname: str = "s0", **fields: object) -> History:
    """One stay on a host."""
    plain = History(seq, hid, hostname, 0, 100, "dummy", "dummy", stime=1795335134)
    return replace(plain, **fields)  # type: ignore[arg-type]


def vm(oid: int = 0, **fields: object) -> Vm:
    """A running VM with a disk."""
    template = Template(
        [
            ("CPU", "0.1"),
            ("MEMORY", "64"),
            ("VCPU", "1"),
            ("DISK", {"DISK_ID": "0", "IMAGE": "img0", "IMAGE_ID": "0", "SIZE": "1024", "TM_MAD": "qcow2"}),
            ("NIC", {"NIC_ID": "0", "IP": "192.0.2.11", "MAC": "02:00:c0:00:02:0b", "BRIDGE": "br0"}),
            ("OS", {"UUID": "6db6792b-4d6e-465c-8ead-224450d44536"}),
            ("TM_MAD_SYSTEM", "qcow2"),
            ("VMID", str(oid)),
        ]
    )
    plain = Vm(oid, 0, 0, f"vm{oid}", VmState.ACTIVE, LcmState.RUNNING, template, history=(history(),))
    return replace(plain, **fields)  # type: ignore[arg-type]


def vm_with_snapshots(oid: int = 0) -> Vm:
    """A VM with system snapshots, trees of disk snapshots and a history of operations."""
    plain = vm(oid)
    taken = {
        "ACTIVE": "YES",
        "HYPERVISOR_ID": "snap-0",
        "NAME": "before & after",
        "SNAPSHOT_ID": "0",
        "SYSTEM_DISK_SIZE": "0",
        "TIME": "1795335300",
    }
    being_taken = {**taken, "ACTION": "CREATE", "HYPERVISOR_ID": "", "NAME": "snapshot-1", "SNAPSHOT_ID": "1"}
    template = plain.template.extended([("SNAPSHOT", taken), ("SNAPSHOT", being_taken)])
    tree = DiskSnapshots(
        0,
        (
            DiskSnapshot(0, "clean", 1795335400, size_mb=1024),
            DiskSnapshot(1, "tried", 1795335500, parent=0, size_mb=1024),
            DiskSnapshot(3, "good]]>", 1795335600, parent=0, size_mb=2048, active=True),
        ),
        next_oid=4,
        current_base=3,
    )
    other = DiskSnapshots(2, (DiskSnapshot(0, "", 1795335700),), 1, 0, "MIXED")
    records = tuple(
        history(
            seq,
            action=action,
            pstime=1795335134,
            petime=1795335135,
            rstime=1795335135,
            retime=1795335140,
            estime=1795335140,
            eetime=1795335141,
            etime=1795335141,
            uid=0,
            gid=0,
        )
        for seq, action in enumerate(HistoryAction)
    )
    never_had_any = DiskSnapshots(1, next_oid=2)
    return replace(plain, template=template, snapshots=(other, never_had_any, tree), history=records)


def host(oid: int = 2, **fields: object) -> Host:
    """A monitored host with a fence device."""
    template = Template(
        [("FENCE", {"AGENT": "fence_ipmilan", "LEVEL": "1", "PASSWORD": "geheim"}), ("HYPERVISOR", "kvm")]
    )
    plain = Host(oid, f"s{oid}", HostState.MONITORED, "holdfast", "kvm", template=template)
    plain = replace(plain, max_cpu=800, max_mem=16777216, cpu_usage=10, mem_usage=65536, vms=(0,), last_seen=1795335201)
    return replace(plain, **fields)  # type: ignore[arg-type]


def datastore(oid: int = 1, **fields: object) -> Datastore:
    """An image datastore."""
    plain = Datastore(oid, "default", DatastoreType.IMAGE_DS, "qcow2", "fs", "/var/lib/one/datastores/1", images=(0,))
    return replace(plain, **fields)  # type: ignore[arg-type]


def image(oid: int = 0, **fields: object) -> Image:
    """An image that a VM uses."""
    plain = Image(oid, "img0", 1, "default", ImageType.OS, ImageState.USED, size_mb=1024, vms=(0,))
    return replace(plain, **fields)  # type: ignore[arg-type]


def hook(oid: int = 0, **fields: object) -> Hook:
    """The failover hook."""
    template = Template(
        [
            ("COMMAND", "ft/host_error"),
            ("ARGUMENTS", "$TEMPLATE -m -p 5"),
            ("ARGUMENTS_STDIN", "yes"),
            ("RESOURCE", "HOST"),
            ("STATE", "ERROR"),
            ("REMOTE", "NO"),
        ]
    )
    return replace(Hook(oid, f"ft{oid}", "state", template), **fields)  # type: ignore[arg-type]


def execution(hook_id: int = 0, execution_id: int = 0, **fields: object) -> HookExecution:
    """A run that went well."""
    plain = HookExecution(hook_id, execution_id, 1000 + execution_id, "PEhPU1Q+ -m", "/hooks/ft & co", "b2s=\n", "", 0)
    return replace(plain, **fields)  # type: ignore[arg-type]


def failover(oid: int = 0, **fields: object) -> Failover:
    """A finished failover of host 2 with one VM."""
    plain = Failover(
        oid,
        host_id=2,
        hostname="s2",
        state=FailoverState.DONE,
        mode=FailoverMode.MIGRATE,
        requested_by="hook ft0",
        stime=100.25,
        etime=104.5,
        proof_id=3,
        evidence=(Evidence("agent of s2", 99.0, "SILENT", "no beacon for 3 s"),),
        steps=(Step(100.25, FailoverState.WATCHING, "opened"), Step(104.5, FailoverState.DONE, "1 VM runs again")),
        rows=(Row(0, "vm0", RowState.RUNNING, from_hid=2, to_hid=3, proof_id=3, running_at=104.4, attempts=1),),
    )
    return replace(plain, **fields)  # type: ignore[arg-type]


def proof(oid: int = 3, failover_id: int = 0) -> Proof:
    """A fence device's word."""
    return Proof(oid, 2, ProofKind.FENCED, 101.0, "fence_ipmilan", "off, read twice", "Status: OFF", "", failover_id)


def installation() -> FakeController:
    """Two hosts, three VMs, a failover, and everything else once."""
    moved = (history(0, action=HistoryAction.MIGRATE), history(1, 3, "s3"))
    return FakeController(
        [
            ONEADMIN,
            CIPHER,
            ANN,
            host(2),
            host(3, vms=(1,), datastores=(HostDatastore(100, 2000, 1500, 500),)),
            datastore(1),
            datastore(0, name="system", type=DatastoreType.SYSTEM_DS, images=()),
            image(),
            image(1, state=ImageState.LOCKED, cloning_id=0, lock=2, lock_owner=0, lock_time=1795335201, vms=()),
            hook(0),
            hook(1, lock=2, lock_time=1795335201),
            vm(0),
            vm(1, history=moved, monitoring=Template([("CPU", "0.5"), ("ID", "1"), ("TIMESTAMP", "1795335201")])),
            vm(2, uid=2, gid=1, state=VmState.DONE, lcm_state=LcmState.LCM_INIT, history=()),
            failover(0),
            proof(),
        ],
        [execution(0, 0), execution(0, 1, code=255, retry=True), execution(1, 0, remote_host="s2")],
    )


def call_body(method: str, *arguments: object) -> bytes:
    """The request of a well-behaved client."""
    values = "".join(f"<param><value>{_typed(argument)}</value></param>" for argument in arguments)
    return f"<methodCall><methodName>{method}</methodName><params>{values}</params></methodCall>".encode()


def _typed(value: object) -> str:
    if isinstance(value, bool):
        return f"<boolean>{value:d}</boolean>"
    if isinstance(value, int):
        return f"<i4>{value}</i4>"
    return f"<string>{escape(str(value))}</string>"


def reply_values(reply: bytes) -> list[str]:
    """The members of a reply's array as texts."""
    root = etree.fromstring(reply)
    return [value[0].text or "" for value in root.findall("params/param/value/array/data/value")]


def fault_of(reply: bytes) -> tuple[int, str]:
    """Code and text of a fault."""
    root = etree.fromstring(reply)
    code = root.findtext("fault/value/struct/member[1]/value/i4")
    text = root.findtext("fault/value/struct/member[2]/value/string")
    assert code is not None
    return int(code), text or ""
