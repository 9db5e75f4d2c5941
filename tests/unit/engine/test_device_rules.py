"""What a user may say of a DISK or NIC: it is refused at once, not when a host is to start the VM."""

import pytest

from holdfast.drivers.vmm.deployment import deployment_file
from holdfast.drivers.vmm.hypervisor import HypervisorConfig
from holdfast.engine import commands as c
from holdfast.model.enums import EffectKind
from holdfast.model.errors import ActionError, AllocateError, HoldfastError, TemplateError
from holdfast.model.template import Section
from holdfast.model.vm_states import LcmState
from tests.unit.engine.rig import Rig

SMALL = "CPU=0.1\nMEMORY=64\n"
LONG = "9" * 5000

DISKS = [
    ('TARGET="../x"', "DISK/TARGET must be a device name such as vda"),
    ('TARGET="vd"', "DISK/TARGET"),
    ('TARGET="VDA"', "DISK/TARGET"),
    ('TARGET="sdzz"', "DISK/TARGET"),
    ('TARGET="vda\n"', "DISK/TARGET"),
    ('DEV_PREFIX="é"', "DISK/DEV_PREFIX must be one of hd, sd, vd, xvd, fd"),
    ('CACHE="NONE"', "DISK/CACHE must be one of default, none"),
    ('IO="fast"', "DISK/IO must be one of native, threads, io_uring"),
    ('IO="native",CACHE="writeback"', "DISK/IO native needs DISK/CACHE none or directsync"),
    ('DISCARD="yes"', "DISK/DISCARD must be one of ignore, unmap"),
    ('FORMAT="vmdk"', "DISK/FORMAT must be one of raw, qcow2"),
    ('DRIVER="nbd:host"', "DISK/DRIVER must be one of raw, qcow2"),
    ('SERIAL="a,b"', "DISK/SERIAL"),
    ('IOTHREAD="0"', "DISK/IOTHREAD"),
    ('VIRTIO_BLK_QUEUES="all"', "DISK/VIRTIO_BLK_QUEUES must be auto or a number"),
    ('TOTAL_IOPS_SEC="1k"', "DISK/TOTAL_IOPS_SEC must be a whole number"),
    (f'READ_BYTES_SEC_MAX="{LONG}"', "DISK/READ_BYTES_SEC_MAX must be a whole number"),
    ('SHAREABLE="YES"', "DISK/SHAREABLE=YES would let two VMs write to one disk"),
    ('SHAREABLE=" yes "', "DISK/SHAREABLE=YES"),
    ('READONLY="YES"', "DISK/READONLY=YES is for images of type CDROM only"),
]
NICS = [
    ('MAC="zz"', "NIC/MAC must be six pairs of hexadecimal digits"),
    ('MAC="01:00:5e:00:00:01"', "its first pair is even"),
    ('MAC="00:00:00:00:00:00"', "NIC/MAC"),
    ('MAC="02:00:00:00:00:01\n"', "NIC/MAC"),
    (f'TARGET="{"n" * 35}"', "NIC/TARGET must be the name of a network device"),
    ('TARGET="a/b"', "NIC/TARGET"),
    ('BRIDGE="br0 x"', "NIC/BRIDGE must be the name of a network device"),
    ('BRIDGE=".."', "NIC/BRIDGE"),
    ('MODEL="virtio,id=x"', "NIC/MODEL must be a card"),
    ('FILTER="../etc"', "NIC/FILTER must be the name of a libvirt filter"),
    ('IP="10.0.0.x"', "NIC/IP must be an IP address"),
    ('BRIDGE_TYPE="openvswitch_dpdk"', "NIC/BRIDGE_TYPE must be linux or openvswitch"),
    ('VIRTIO_QUEUES="-1"', "NIC/VIRTIO_QUEUES"),
    (f'INBOUND_AVG_BW="{LONG}"', "NIC/INBOUND_AVG_BW must be a whole number"),
]
SIZES = [
    ("-1", "needs a SIZE in MB"),
    ("0", "needs a SIZE in MB"),
    ("1.5", "needs a SIZE in MB"),
    ("٣", "needs a SIZE in MB"),
    ("1073741825", "at most 1073741824"),
    (LONG, f'"{"9" * 40}…" (5000 characters)'),
]


@pytest.fixture
def rig() -> Rig:
    """One host, and images: alpine (0), rescue (1, a CD-ROM), strange (2, with a prefix that is none)."""
    rig = Rig(hosts=1)
    for text in ("NAME=alpine\nDEV_PREFIX=vd", "NAME=rescue\nTYPE=CDROM", "NAME=strange\nDEV_PREFIX=/dev/"):
        rig.call(c.AllocateImage(text + "\nPATH=/tmp/x", 1))
        rig.answer(EffectKind.IMAGE_CREATE, SIZE="512", FORMAT="qcow2")
    return rig


def held(rig: Rig, text: str) -> int:
    """A VM on hold."""
    return rig.call(c.AllocateVm(SMALL + text, hold=True))


def running(rig: Rig) -> int:
    """A VM that runs, with one disk and one NIC."""
    oid = held(rig, 'DISK=[IMAGE_ID=0]\nNIC=[BRIDGE="br0"]')
    rig.call(c.DeployVm(oid, 0))
    rig.settle()
    assert rig.vm(oid).lcm_state is LcmState.RUNNING
    return oid


def refusal(rig: Rig, command: c.Command) -> HoldfastError:
    """What the command is refused with; nothing may be left of it."""
    images, vms = dict(rig.engine.state.images), dict(rig.engine.state.vms)
    with pytest.raises(HoldfastError) as caught:
        rig.call(command)
    assert (rig.engine.state.images, rig.engine.state.vms, rig.orders) == (images, vms, [])
    assert len(caught.value.message) < 500
    return caught.value


@pytest.mark.parametrize("kind", ["IMAGE_ID=0", "TYPE=fs,SIZE=8"])
@pytest.mark.parametrize(("given", "said"), DISKS)
def test_a_disk_that_no_host_could_start_or_that_could_hurt_is_refused(
    rig: Rig, kind: str, given: str, said: str
) -> None:
    vm, disk = running(rig), f"DISK=[{kind},{given}]"
    new, attached = refusal(rig, c.AllocateVm(SMALL + disk)), refusal(rig, c.AttachDisk(vm, disk))
    assert (type(new), new.code, attached.code) == (AllocateError, 16384, 2048)
    assert said in new.message
    assert said in attached.message
    assert isinstance(attached, ActionError)


@pytest.mark.parametrize(("given", "said"), NICS)
def test_a_nic_that_no_host_could_start_is_refused(rig: Rig, given: str, said: str) -> None:
    vm, nic = running(rig), f"NIC=[{given}]"
    new, attached = refusal(rig, c.AllocateVm(SMALL + nic)), refusal(rig, c.AttachNic(vm, nic))
    assert (type(new), new.code, attached.code) == (AllocateError, 16384, 2048)
    assert said in new.message
    assert said in attached.message
    assert "leave it out" in attached.message


@pytest.mark.parametrize(("size", "said"), SIZES)
def test_the_size_of_an_empty_disk_is_a_number_of_megabytes_that_can_be_counted(rig: Rig, size: str, said: str) -> None:
    disk = f'DISK=[TYPE=fs,SIZE="{size}"]'
    for error in (refusal(rig, c.AllocateVm(SMALL + disk)), refusal(rig, c.AttachDisk(running(rig), disk))):
        assert said in error.message


@pytest.mark.parametrize("size", ["big", "-1", "1073741825", LONG])
def test_the_size_of_a_disk_of_an_image_is_a_number_of_megabytes_too(rig: Rig, size: str) -> None:
    error = refusal(rig, c.AllocateVm(f'{SMALL}DISK=[IMAGE_ID=0,SIZE="{size}"]'))
    assert "DISK/SIZE must be a whole number of MB, at most 1073741824" in error.message


@pytest.mark.parametrize("image_id", ["-1", "x", "", "1e3", "²", "٣", LONG])
def test_the_id_of_an_image_is_a_number(rig: Rig, image_id: str) -> None:
    vm, disk = running(rig), f'DISK=[IMAGE_ID="{image_id}"]'
    for error in (refusal(rig, c.AllocateVm(SMALL + disk)), refusal(rig, c.AttachDisk(vm, disk))):
        assert (type(error), error.message.startswith("DISK/IMAGE_ID must be a number")) == (TemplateError, True)


def test_the_source_of_a_disk_is_not_a_users_to_set(rig: Rig) -> None:
    disk = 'DISK=[TYPE=fs,SIZE=8,SOURCE="/etc/shadow",SAVE=YES]'
    for error in (refusal(rig, c.AllocateVm(SMALL + disk)), refusal(rig, c.AttachDisk(running(rig), disk))):
        assert "DISK/SOURCE is not a user's to set: make an image of the file" in error.message
    oid = held(rig, 'DISK=[IMAGE_ID=0,SOURCE="/etc/shadow"]')
    assert rig.vm(oid).template.section("DISK")["SOURCE"] == rig.engine.state.images[0].source


@pytest.mark.parametrize("kind", ["IMAGE_ID=0", "TYPE=fs,SIZE=8"])
def test_what_follows_from_image_and_datastore_is_not_taken_from_the_user(rig: Rig, kind: str) -> None:
    theirs = (
        "SAVE=YES,CLONE=NO,PERSISTENT=YES,TM_MAD=ssh,TM_MAD_SYSTEM=ssh,DATASTORE=x,DATASTORE_ID=77,DISK_TYPE=BLOCK,"
        "DISK_ID=9,CLONE_TARGET=SELF,LN_TARGET=SYSTEM,CLONE_TARGET_SSH=SYSTEM,ORIGINAL_SIZE=1,SHAREABLE=NO,"
        "READONLY=NO,DISK_SNAPSHOT_TOTAL_SIZE=5"
    )
    plain, given = held(rig, f"DISK=[{kind}]"), held(rig, f"DISK=[{kind},{theirs}]")
    assert rig.vm(given).template.section("DISK") == rig.vm(plain).template.section("DISK")
    vm = running(rig)
    rig.call(c.AttachDisk(vm, f"DISK=[{kind},{theirs}]"))
    rig.settle()
    mine = {"TARGET", "DISK_ID", "TM_MAD_SYSTEM"}
    attached = {key: value for key, value in rig.vm(vm).template.sections("DISK")[1].items() if key not in mine}
    assert attached == {key: value for key, value in rig.vm(plain).template.section("DISK").items() if key not in mine}


def test_a_cdrom_may_be_called_read_only(rig: Rig) -> None:
    assert rig.vm(held(rig, "DISK=[IMAGE_ID=1,READONLY=YES]")).template.section("DISK")["READONLY"] == "YES"


@pytest.mark.parametrize("text", ["DISK=[IMAGE_ID=2]", 'DISK=[TYPE=fs,SIZE=8]\nDEFAULT_DEVICE_PREFIX="../"'])
def test_a_prefix_that_gives_no_device_name_is_refused_wherever_it_comes_from(rig: Rig, text: str) -> None:
    error = refusal(rig, c.AllocateVm(SMALL + text))
    assert "it must be one of hd, sd, vd, xvd, fd: correct it, or give the DISK a TARGET" in error.message
    held(rig, "DISK=[IMAGE_ID=2,TARGET=vda]")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ('MAC="02:00:00:AA:00:01"', 'MAC="02:00:00:aa:00:01"'),
        ('TARGET="tap0"', 'TARGET="tap0"'),
        ("BRIDGE=br0", 'MAC="02:00:00:00:00:00"'),
    ],
)
def test_two_nics_of_a_new_vm_differ(rig: Rig, first: str, second: str) -> None:
    error = refusal(rig, c.AllocateVm(f"{SMALL}NIC=[{first}]\nNIC=[{second}]"))
    assert (type(error), "is that of NIC 0 already" in error.message) == (AllocateError, True)


def test_an_id_that_no_disk_can_have_does_not_stand_in_the_way_of_the_next_one(rig: Rig) -> None:
    vm = held(rig, f'CONTEXT=[DISK_ID="{LONG}"]')
    rig.call(c.DeployVm(vm, 0))
    rig.settle()
    assert rig.vm(vm).template.section("CONTEXT")["DISK_ID"] == "0"
    rig.call(c.AttachDisk(vm, "DISK=[IMAGE_ID=0]"))
    assert rig.vm(vm).template.section("DISK")["DISK_ID"] == "1"


def test_whatever_is_accepted_can_be_written_into_a_deployment_file(rig: Rig) -> None:
    vm = held(
        rig,
        'DISK=[IMAGE_ID=0,TARGET=sdhz,CACHE=none,IO=native,DISCARD=unmap,SERIAL="A b-1",TOTAL_IOPS_SEC=100]\n'
        "DISK=[IMAGE_ID=0,DEV_PREFIX=xvd,CACHE=default,IO=io_uring]\nDISK=[IMAGE_ID=1]\n"
        "DISK=[TYPE=fs,SIZE=8,DRIVER=qcow2,TARGET=vdz,VIRTIO_BLK_QUEUES=auto]\nDISK=[TYPE=swap,SIZE=1073741824]\n"
        'NIC=[BRIDGE="br0.100",MODEL="e1000-82545em",MAC="AE:00:00:00:00:01",TARGET="tap_0",IP="fe80::1",'
        'FILTER="clean-traffic",BRIDGE_TYPE=openvswitch,INBOUND_AVG_BW=1000,VIRTIO_QUEUES=4]',
    )
    rig.call(c.DeployVm(vm, 0))
    state = rig.engine.state
    text = deployment_file(rig.vm(vm), rig.host(0), state.datastores[0], HypervisorConfig("/ds"))
    targets = [disk["TARGET"] for disk in rig.vm(vm).template.sections("DISK")]
    assert targets == ["sdhz", "xvda", "sda", "vdz", "sdb"]
    assert all(f'dev="{target}"' in text for target in targets)
    assert "shareable" not in text
    assert rig.vm(vm).template.sections("DISK")[3]["FORMAT"] == "qcow2"


def test_the_marks_of_a_nic_are_not_the_users_to_set(rig: Rig) -> None:
    nic = rig.vm(held(rig, "NIC=[BRIDGE=br0,ATTACH=YES,NIC_ID=7]")).template.section("NIC")
    assert nic == Section(BRIDGE="br0", NIC_ID="0", TARGET="one-0-0", MAC="02:00:00:00:00:00")
