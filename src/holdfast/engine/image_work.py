"""Images as VMs use them: acquired when the VM is created, released when it is DONE."""

from __future__ import annotations

from dataclasses import replace

from holdfast.engine.work import Work
from holdfast.model.enums import ImageState
from holdfast.model.errors import ActionError
from holdfast.model.storage import Datastore, Image
from holdfast.model.vm import Vm


def acquire(work: Work, image: Image, vm_id: int) -> Image:
    """The image in use by one more VM; raises ActionError when its state forbids it."""
    if image.state is ImageState.USED_PERS:
        raise ActionError(f"Cannot acquire image {image.oid}, it is persistent and already in use")
    if image.state not in (ImageState.READY, ImageState.USED):
        raise ActionError(f"Cannot acquire image {image.oid}, it is in state: {image.state.name}")
    state = ImageState.USED_PERS if image.persistent else ImageState.USED
    return put_in_state(work, replace(image, vms=(*image.vms, vm_id)), state)


def release_images(work: Work, vm: Vm, failed: bool) -> None:
    """The VM is DONE: its images lose a user; a persistent one whose VM failed needs the operator's eye (ERROR)."""
    for disk in vm.template.sections("DISK"):
        image = work.find(Image, int(disk["IMAGE_ID"])) if disk.get("IMAGE_ID") else None
        if image is None or vm.oid not in image.vms:
            continue
        left = replace(image, vms=tuple(oid for oid in image.vms if oid != vm.oid))
        if image.persistent and failed:
            put_in_state(work, left, ImageState.ERROR)
        elif not left.vms and image.state in (ImageState.USED, ImageState.USED_PERS):
            put_in_state(work, left, ImageState.READY)
        else:
            work.draft.put(left)


def put_in_state(work: Work, image: Image, state: ImageState) -> Image:
    """Stages the image in ``state``."""
    after = replace(image, state=state, prev_state=image.state if state is not image.state else image.prev_state)
    work.draft.put(after)
    return after


def drop_from_datastore(work: Work, image: Image) -> None:
    """The image is gone: so is its place in its datastore."""
    work.draft.delete(Image, image.oid)
    datastore = work.find(Datastore, image.datastore_id)
    if datastore is not None:
        work.draft.put(replace(datastore, images=tuple(oid for oid in datastore.images if oid != image.oid)))
