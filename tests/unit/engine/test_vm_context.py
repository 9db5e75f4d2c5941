"""CONTEXT, kernels and initrds of new VMs: what follows from what a user asks for, and what is refused."""

import pytest

from holdfast.engine import commands as c
from holdfast.model.enums import EffectKind
from holdfast.model.errors import HoldfastError
from holdfast.model.template import Section
from tests.unit.engine.rig import Rig

BASIC = "CPU=1\nMEMORY=64\n"


@pytest.fixture
def rig() -> Rig:
    """One host, and a datastore for files: a kernel (0), an initrd (1), a file for contexts (2), one on its way (3)."""
    rig = Rig(hosts=1)
    files = rig.call(c.AllocateDatastore("NAME=files\nTYPE=FILE_DS\nTM_MAD=shared\nDS_MAD=fs"))
    for name, kind in (("vmlinuz", "KERNEL"), ("initrd", "RAMDISK"), ("setup", "CONTEXT"), ("late", "CONTEXT")):
        rig.call(c.AllocateImage(f"NAME={name}\nTYPE={kind}\nPATH=/srv/{name}", files))
        if name != "late":
            rig.answer(EffectKind.IMAGE_CREATE, SIZE="1", FORMAT="raw")
    return rig


def made(rig: Rig, text: str) -> int:
    """A VM on hold."""
    return rig.call(c.AllocateVm(BASIC + text, hold=True))


def context(rig: Rig, text: str) -> Section:
    """The CONTEXT of a new VM."""
    return rig.vm(made(rig, text)).template.section("CONTEXT")


def source(rig: Rig, oid: int) -> str:
    """Where an image is."""
    return rig.engine.state.images[oid].source


def test_the_context_is_a_cdrom_behind_the_disks(rig: Rig) -> None:
    disks = "DISK=[TYPE=fs,SIZE=8,TARGET=hda]\nDISK=[TYPE=swap,SIZE=8]\n"
    assert context(rig, f"{disks}CONTEXT=[SET_HOSTNAME=web]") == {
        "SET_HOSTNAME": "web", "DISK_ID": "2", "TARGET": "hdb"
    }  # fmt: skip
    assert context(rig, "CONTEXT=[A=1]\nOS=[MACHINE=q35]")["TARGET"] == "sda"
    assert context(rig, "CONTEXT=[A=1,TARGET=hdc]")["TARGET"] == "hdc"
    assert "CONTEXT" not in rig.vm(made(rig, "")).template


def test_a_disk_that_is_attached_later_takes_another_number(rig: Rig) -> None:
    vm = made(rig, "CONTEXT=[A=1]")
    rig.call(c.DeployVm(vm, 0))
    rig.settle()
    rig.call(c.AttachDisk(vm, "DISK=[TYPE=fs,SIZE=8]"))
    rig.settle()
    assert rig.vm(vm).template.section("DISK")["DISK_ID"] == "1"


def test_known_words_are_filled_in_and_dollars_of_the_shell_stay(rig: Rig) -> None:
    filled = context(
        rig,
        'NAME=web\nCONTEXT=[A="$NAME-$VMID of $UNAME", B="$HOME $NAMES", START_SCRIPT="echo $NAME", C="$USER[KEY]"]',
    )
    assert filled["A"] == "web-0 of oneadmin"
    assert filled["B"] == "$HOME $NAMES"
    assert filled["START_SCRIPT"] == "echo $NAME"
    assert filled["C"] == ""


@pytest.mark.parametrize("wish", ["TOKEN", "REPORT_READY"])
def test_a_guest_that_is_to_report_knows_its_number(rig: Rig, wish: str) -> None:
    assert context(rig, f"CONTEXT=[{wish}=YES]")["VMID"] == "0"
    assert "VMID" not in context(rig, f"CONTEXT=[{wish}=NO]")


def test_files_of_datastores_are_named_with_their_paths(rig: Rig) -> None:
    found = context(rig, """CONTEXT=[FILES_DS="$FILE[IMAGE_ID=2]"]""")
    assert found["FILES_DS"] == f"{source(rig, 2)}:'setup'"
    found = context(rig, """CONTEXT=[FILES_DS="$FILE[IMAGE='setup']"]""")
    assert found["FILES_DS"] == f"{source(rig, 2)}:'setup'"


def test_kernel_and_initrd_are_found_and_nobody_says_himself_where_they_are(rig: Rig) -> None:
    os = 'OS=[KERNEL_DS="$FILE[IMAGE_ID=0]",INITRD_DS="$FILE[IMAGE_ID=1]",KERNEL_DS_SOURCE="/etc/shadow",ROOT=vda1]'
    found = rig.vm(made(rig, os)).template.section("OS")
    assert {name: text for name, text in found.items() if "_DS_" in name} == {
        "KERNEL_DS_ID": "0", "KERNEL_DS_SOURCE": source(rig, 0), "KERNEL_DS_DSID": "100", "KERNEL_DS_TM": "shared",
        "INITRD_DS_ID": "1", "INITRD_DS_SOURCE": source(rig, 1), "INITRD_DS_DSID": "100", "INITRD_DS_TM": "shared",
    }  # fmt: skip
    assert "KERNEL_DS_SOURCE" not in rig.vm(made(rig, 'OS=[KERNEL_DS_SOURCE="/etc/shadow"]')).template.section("OS")


def test_a_kernel_on_a_system_datastore_of_another_driver_carries_the_mode(rig: Rig) -> None:
    ssh = rig.call(c.AllocateDatastore("NAME=apart\nTYPE=SYSTEM_DS\nTM_MAD=ssh"))
    vm = made(rig, 'OS=[KERNEL_DS="$FILE[IMAGE_ID=0]"]')
    rig.call(c.DeployVm(vm, 0, ds_id=ssh))
    assert rig.vm(vm).template.section("OS")["KERNEL_DS_TM_SYSTEM"] == "ssh"
    other = made(rig, 'OS=[KERNEL_DS="$FILE[IMAGE_ID=0]"]')
    rig.call(c.DeployVm(other, 0, ds_id=0))
    assert "KERNEL_DS_TM_SYSTEM" not in rig.vm(other).template.section("OS")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('CONTEXT=[FILES_DS="$FILE[IMAGE_ID=0]"]', "image 0 is of type KERNEL, it must be CONTEXT"),
        ('CONTEXT=[FILES_DS="$FILE[IMAGE_ID=3]"]', "image 3 (late) is in state LOCKED, not READY"),
        ('CONTEXT=[FILES_DS="setup"]', "CONTEXT/FILES_DS must be $FILE[IMAGE_ID=3] or"),
        ("""CONTEXT=[FILES_DS="$FILE[IMAGE='nix']"]""", "there is no image named"),
        ('CONTEXT=[FILES_DS="$FILE[IMAGE_ID=2] $FILE[IMAGE_ID=2]"]', 'a file cannot be named "setup"'),
        ('CONTEXT=[FILES="setup.sh"]', "CONTEXT/FILES must be a list of absolute paths"),
        ("CONTEXT=[A.B=1]", "no name of a shell variable"),
        ("CONTEXT=[TARGET=xyz]", "TARGET"),
        ("DISK=[TYPE=fs,SIZE=8,TARGET=hda]\nCONTEXT=[TARGET=hda]", "CONTEXT/TARGET hda is already in use"),
        ('OS=[KERNEL_DS="$FILE[IMAGE_ID=1]"]', "image 1 is of type RAMDISK, it must be KERNEL"),
        ('OS=[KERNEL_DS="$FILE[IMAGE_ID=0]$FILE[IMAGE_ID=0]"]', "must name one file, it names 2"),
    ],
)
def test_what_cannot_be_is_refused_with_the_rule(rig: Rig, text: str, said: str) -> None:
    with pytest.raises(HoldfastError) as caught:
        made(rig, text)
    assert said in caught.value.message
    assert not rig.engine.state.vms
