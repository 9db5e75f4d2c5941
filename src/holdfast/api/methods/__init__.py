"""The methods of the API, as data: ``changes`` and ``vm_changes`` make commands, the other tables read.

``method`` says what a method is, ``selection`` which objects of a pool are meant, ``opennebula`` which names exist
there but not here.
"""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.api.methods import changes, installation, objects, pools, repair, storage_check, vm_changes
from holdfast.api.methods.method import ApiSettings, Call, Method

__all__ = ["REGISTRY", "Call", "Method", "ApiSettings"]

_TABLES = (changes, vm_changes, repair, storage_check, objects, pools, installation)

REGISTRY: Mapping[str, Method] = {
    method.name: method
    for method in sorted(
        (method for table in _TABLES for method in table.METHODS),
        key=lambda method: method.name,
    )
}
"""All methods by name."""
