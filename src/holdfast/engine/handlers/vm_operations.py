"""What all commands on a VM's devices, snapshots and size have in common: the state that allows them, and their start.

The state is looked at first, so that a VM in a wrong state is told so whatever else is wrong with the request.
"""

from __future__ import annotations

from holdfast.engine.vm_work import facts_of, happen
from holdfast.engine.work import Work
from holdfast.lifecycle import VmEvent
from holdfast.lifecycle.decide import is_available
from holdfast.model.errors import ActionError, TemplateError
from holdfast.model.template import Section
from holdfast.model.template_text import parse_any
from holdfast.model.vm import Operation, Vm


def vm_ready_for(work: Work, oid: int, event: VmEvent) -> Vm:
    """The VM, if its state has a place for the operation; raises ActionError."""
    vm = work.get(Vm, oid)
    if not is_available(vm, event):
        raise unavailable(vm, event)
    return vm


def unavailable(vm: Vm, event: VmEvent) -> ActionError:
    """OpenNebula's words for an action in a wrong state."""
    said = f'Error performing action "{event.value}": This action is not available for state {vm.state_name}'
    return ActionError(said, vm.oid)


def start(work: Work, vm: Vm, event: VmEvent, operation: Operation) -> Vm:
    """The operation begins; its driver is asked, where it needs one."""
    return happen(work, vm, event, facts_of(work, vm, operation=operation))


def the_only(text: str, name: str) -> Section:
    """The one DISK or NIC of a template."""
    template = parse_any(text)
    sections = template.sections(name)
    others = sorted(template.names() - {name})
    if len(sections) == 1 and not others:
        return sections[0]
    found = f"{len(sections)} of them" + (f" and {', '.join(others)}" if others else "")
    raise TemplateError(f"The template must hold exactly one {name}=[...] and nothing else, it holds {found}.")
