"""Objects as OpenNebula's XML.  Each module renders one kind; ``rendered`` keeps what was rendered.

The functions here give plain documents, as hooks receive them.  Neither declares a namespace or an encoding, and host
templates show no secret.
"""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.api.views import host as _host
from holdfast.api.views import storage as _storage
from holdfast.api.views import vm as _vm
from holdfast.api.views.rendered import Views
from holdfast.model.host import Host
from holdfast.model.storage import Datastore, Image
from holdfast.model.user import User
from holdfast.model.vm import Vm

__all__ = ["Views", "render_datastore", "render_host", "render_image", "render_vm"]


def render_host(host: Host) -> str:
    """The host's XML."""
    return _host.full(host)


def render_datastore(datastore: Datastore) -> str:
    """The datastore's XML, with oneadmin as the name of its owner."""
    return _storage.datastore(datastore, {})


def render_vm(vm: Vm, users: Mapping[int, User] | None = None) -> str:
    """The VM's XML; without ``users`` only oneadmin's name is known."""
    return _vm.full(vm, users or {})


def render_image(image: Image, users: Mapping[int, User] | None = None) -> str:
    """The image's XML; without ``users`` only oneadmin's name is known."""
    return _storage.image(image, users or {})
