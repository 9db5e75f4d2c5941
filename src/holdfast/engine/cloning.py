"""VMs that wait for images which are still being created (CLONING, CLONING_FAILURE).

An image knows its VMs, so the end of its creation costs as much as VMs wait for it.  A VM goes on when all its images
are there; one in ERROR holds it in CLONING_FAILURE until the image is there after all or an operator looks again
(``recover --success`` or ``--failure``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from holdfast.engine.handlers.vm_disks import filled_from
from holdfast.engine.image_work import arrived, is_arriving, is_there, put_in_state
from holdfast.engine.vm_work import facts_of, happen, with_error
from holdfast.engine.work import Work
from holdfast.lifecycle import VmEvent
from holdfast.model.enums import ImageState
from holdfast.model.storage import Datastore, Image
from holdfast.model.template import Section, Template
from holdfast.model.vm import Vm
from holdfast.model.vm_states import VmState

WAITING = (VmState.CLONING, VmState.CLONING_FAILURE)


def image_ready(work: Work, image: Image) -> None:
    """The image is there; VMs that waited for it alone go on."""
    _look_at_vms(work, arrived(work, image))


def image_failed(work: Work, image: Image) -> None:
    """The image could not be created; neither can the VMs that wait for it."""
    _look_at_vms(work, put_in_state(work, image, ImageState.ERROR))


def _look_at_vms(work: Work, image: Image) -> None:
    for vm_id in image.vms:
        vm = work.find(Vm, vm_id)
        if vm is not None and vm.state in WAITING:
            look_at_images(work, vm)


def look_at_images(work: Work, vm: Vm) -> Vm:
    """What the images of a waiting VM allow now: it goes on, goes on waiting, or cannot be."""
    images = [work.get(Image, int(disk["IMAGE_ID"])) for disk in vm.template.sections("DISK") if "CLONING" in disk]
    missing = [image for image in images if not is_there(image)]
    for image in missing:
        if not is_arriving(image):
            return _cannot_be(work, vm, image)
    if missing:
        return vm
    filled = replace(vm, template=Template((key, _filled(work, value)) for key, value in vm.template))
    ready = with_error(work, filled, "")
    return happen(work, ready, VmEvent.IMAGES_READY, facts_of(work, ready))


def _filled(work: Work, value: str | Section) -> str | Mapping[str, str]:
    """A disk that waited learns what its image is."""
    if isinstance(value, str) or "CLONING" not in value:
        return value
    image = work.get(Image, int(value["IMAGE_ID"]))
    return filled_from(image, work.get(Datastore, image.datastore_id), value)


def _cannot_be(work: Work, vm: Vm, image: Image) -> Vm:
    why = image.template.get("ERROR")
    said = with_error(
        work,
        vm,
        f"Image {image.oid} ({image.name}) is in state {image.state.name}{f': {why}' if why else ''}. "
        f"Mend the cause and enable the image (oneimage enable {image.oid}): the VM goes on when its images are "
        f"there. Or terminate the VM.",
    )
    if vm.state is VmState.CLONING_FAILURE:
        return said
    return happen(work, said, VmEvent.IMAGES_FAILED, facts_of(work, said))
