"""The methods of the API, as data: ``changes`` and ``vm_changes`` make commands, the other tables read.

``method`` says what a method is, ``selection`` which objects of a pool are meant, ``opennebula`` which names exist
there but not here.
"""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.api.methods import changes, installation, objects, pools, vm_changes
from holdfast.api.methods.method import ApiSettings, Call, Method

__all__ = ["REGISTRY", "Call", "Method", "ApiSettings"]

REGISTRY: Mapping[str, Method] = {
    method.name: method
    for method in sorted(
        (*changes.METHODS, *vm_changes.METHODS, *objects.METHODS, *pools.METHODS, *installation.METHODS),
        key=lambda method: method.name,
    )
}
"""All methods by name."""
