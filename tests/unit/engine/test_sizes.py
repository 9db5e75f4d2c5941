"""Numbers that users give for CPU, VCPU and MEMORY: each is within its limits, or refused in a short message."""

import pytest

from holdfast.engine import commands as c
from holdfast.engine.handlers.sizes import shown, whole_number
from holdfast.model.errors import AllocateError, HoldfastError, TemplateError
from tests.unit.engine.rig import Rig

LONG = "9" * 5000
NOT_NUMBERS = [
    ("CPU", "nan", "Attribute CPU must be a number"),
    ("CPU", "inf", "Attribute CPU must be a number"),
    ("CPU", "1e309", "Attribute CPU must be a number"),
    ("CPU", "1_0", "Attribute CPU must be a number"),
    ("CPU", "٣", "Attribute CPU must be a number"),
    ("CPU", LONG, "(5000 characters)"),
    ("VCPU", LONG, "(5000 characters)"),
    ("VCPU", "1_0", "Attribute VCPU must be a whole number"),
    ("VCPU", "+2", "Attribute VCPU must be a whole number"),
    ("MEMORY", LONG, "(5000 characters)"),
    ("MEMORY", "٦٤", "Attribute MEMORY must be a whole number"),
]
OUTSIDE = [
    ("CPU", "1e-9", "from 0.01"),
    ("CPU", "100001", "up to 100000"),
    ("VCPU", "99999999999999999999", "of at most 12 digits"),
    ("VCPU", "4097", "up to 4096"),
    ("MEMORY", "1073741825", "up to 1073741824"),
]


def given(name: str, value: str) -> str:
    """A template with this size, and the others that a VM needs."""
    return "\n".join(f'{key}="{text}"' for key, text in {"CPU": "1", "MEMORY": "64", name: value}.items())


@pytest.mark.parametrize(("name", "value", "said"), [*NOT_NUMBERS, *OUTSIDE])
def test_a_new_vm_is_refused_a_size_that_is_none(name: str, value: str, said: str) -> None:
    rig = Rig(hosts=1)
    with pytest.raises(AllocateError) as caught:
        rig.call(c.AllocateVm(given(name, value)))
    assert said in caught.value.message
    assert len(caught.value.message) < 300
    assert not rig.engine.state.vms


@pytest.mark.parametrize(("name", "value", "said"), [*NOT_NUMBERS, *OUTSIDE])
def test_a_vm_that_is_on_hold_is_not_resized_to_a_size_that_is_none(name: str, value: str, said: str) -> None:
    rig = Rig(hosts=1)
    vm = rig.call(c.AllocateVm("CPU=1\nMEMORY=64", hold=True))
    before = rig.vm(vm)
    with pytest.raises(TemplateError) as caught:
        rig.call(c.ResizeVm(vm, f'{name}="{value}"'))
    assert said in caught.value.message
    assert len(caught.value.message) < 300
    assert rig.vm(vm) == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("VCPU=4\nVCPU_MAX=2", "VCPU_MAX attribute is 2, it must not be less than VCPU, which is 4"),
        ("VCPU_MAX=0", "VCPU_MAX attribute must be a positive whole number"),
        ("VCPU_MAX=many", "Attribute VCPU_MAX must be a whole number"),
        (f"MEMORY_MAX={LONG}", "Attribute MEMORY_MAX must be a whole number"),
        ("MEMORY_SLOTS=257", "MEMORY_SLOTS attribute must be a positive integer value, up to 256"),
    ],
)
def test_the_limits_of_a_vm_are_numbers_too(text: str, said: str) -> None:
    with pytest.raises(HoldfastError) as caught:
        Rig().call(c.AllocateVm(f"CPU=1\nMEMORY=64\n{text}"))
    assert said in caught.value.message


@pytest.mark.parametrize("text", ["CPU=0.01", "CPU=1e2", "CPU=.5", "VCPU=4096", "VCPU=2\nVCPU_MAX=2", "MEMORY_MAX=0"])
def test_sizes_at_the_edge_are_accepted(text: str) -> None:
    rig = Rig()
    extra = "" if text.startswith("CPU=") else "CPU=1\n"
    assert rig.vm(rig.call(c.AllocateVm(f"MEMORY=1073741824\n{extra}{text}"))).cpu_percent > 0


def test_a_disk_does_not_grow_beyond_what_can_be_counted() -> None:
    rig = Rig(hosts=1)
    vm = rig.call(c.AllocateVm("CPU=1\nMEMORY=64\nDISK=[TYPE=fs,SIZE=8]", hold=True))
    rig.call(c.DeployVm(vm, 0))
    rig.settle()
    for size in ("1073741825", LONG):
        with pytest.raises(HoldfastError, match="the most is 1073741824"):
            rig.call(c.ResizeDisk(vm, 0, size))
    rig.call(c.ResizeDisk(vm, 0, "1073741824"))


def test_a_value_is_shown_so_that_a_message_stays_one_short_line() -> None:
    assert shown("a\nb\x1b") == '"a\\nb\\x1b"'
    assert shown("x" * 41) == f'"{"x" * 40}…" (41 characters)'


def test_a_whole_number_is_made_of_digits_and_has_a_limit() -> None:
    assert [whole_number(text, 99) for text in ("0", "99", "100", "-1", "", "²", "٣")] == [0, 99, *[None] * 5]
