"""What an order to a hypervisor's driver says, whoever carries it out: its arguments, the stay and the datastore."""

from __future__ import annotations

from holdfast.engine.ports import Order
from holdfast.model.errors import HoldfastError
from holdfast.model.storage import Datastore
from holdfast.model.vm import History, Vm


def argument(order: Order, name: str) -> str:
    """One of the effect's arguments, empty when it has none of this name."""
    return order.effect.args.get(name, "")


def number(order: Order, name: str) -> int:
    """An argument that has to be a whole number; raises HoldfastError."""
    text = argument(order, name)
    if not text.isdecimal():
        raise HoldfastError(f'{name} of effect {order.effect.oid} is "{text}", it must be a number.')
    return int(text)


def record_of(order: Order, vm: Vm) -> History:
    """The history record that the order works on, the newest if it names none; raises HoldfastError."""
    seq = argument(order, "SEQ")
    for record in reversed(vm.history):
        if not seq or str(record.seq) == seq:
            return record
    raise HoldfastError(f"VM {vm.oid} has no history record {seq or 'at all'}.")


def datastore_of(order: Order, vm: Vm) -> Datastore:
    """The system datastore of that record; raises HoldfastError."""
    found = order.datastores.get(record_of(order, vm).ds_id)
    if found is None:
        raise HoldfastError(f"VM {vm.oid} has no system datastore that is known here.")
    return found
