"""``onevm create``: one or several VMs from a template file, standard input or options."""

from __future__ import annotations

from holdfast.cli.errors import UsageError
from holdfast.cli.grammar import Call
from holdfast.cli.lookup import is_id
from holdfast.cli.options import Option, Values
from holdfast.cli.template_input import new_template
from holdfast.cli.units import size_mb
from holdfast.model.template import Section, Template
from holdfast.model.template_text import write_text

_TEMPLATE_OPTIONS = (
    Option("name", argument="NAME", description="name; %i becomes the number of the copy (with -m)"),
    Option("cpu", argument="CPU", description="CPU to reserve, 1 = one core, such as 0.5"),
    Option("vcpu", argument="N", description="cores that the guest sees"),
    Option("memory", argument="SIZE", description="memory, such as 512, 512m or 8g"),
    Option("disk", argument="IMG,...", description="images by id or name; IMG:KEY=VALUE adds an attribute"),
)
CREATE_OPTIONS = (
    *_TEMPLATE_OPTIONS,
    Option("hold", description="create it on hold: the scheduler leaves it alone"),
    Option("multiple", "m", "N", "create N VMs"),
)
_LIMIT = 10_000


def create(call: Call) -> int:
    """Creates the VMs and prints their ids."""
    text = new_template(call, call.argument(0), _TEMPLATE_OPTIONS, template_from_options(call.values))
    copies = call.values.number("multiple")
    if copies is None:
        copies = 1
    if not 1 <= copies <= _LIMIT:
        raise UsageError(f"--multiple must be from 1 to {_LIMIT}, it is {copies}.")
    hold = call.values.switch("hold")
    for number in range(copies):
        print(f"ID: {call.client.identifier('one.vm.allocate', _numbered(call.values, text, number), hold)}")
    return 0


def template_from_options(values: Values) -> str:
    """The template text that the options describe."""
    pairs: list[tuple[str, str | Section]] = []
    for name in ("name", "cpu", "vcpu"):
        value = values.text(name)
        if value is not None:
            pairs.append((name.upper(), value))
    memory = values.text("memory")
    if memory is not None:
        pairs.append(("MEMORY", str(size_mb(memory, "--memory"))))
    pairs.extend(("DISK", _disk(item)) for item in values.items("disk"))
    return write_text(Template(pairs))


def _numbered(values: Values, text: str, number: int) -> str:
    return text.replace("%i", str(number)) if values.text("name") is not None else text


def _disk(item: str) -> Section:
    image, *settings = item.split(":")
    disk = Section({"IMAGE_ID" if is_id(image) else "IMAGE": image})
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not key or not equals:
            raise UsageError(f"--disk takes IMAGE:KEY=VALUE, not '{item}'.")
        disk[key.upper()] = value
    return disk
