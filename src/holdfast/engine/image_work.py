"""Images as VMs use them: acquired when the VM is created or a disk is attached, released when the disk or the VM goes.

An image that is still being created (LOCKED) can be acquired by a VM that waits for it; it is LOCKED_USED until it is
there.  Whoever may still write to a persistent image leaves it in ERROR: an operator looks before it is used again.
"""

from __future__ import annotations

from dataclasses import replace

from holdfast.engine.work import Work
from holdfast.model.enums import ImageState, LockLevel
from holdfast.model.errors import ActionError, LockedError
from holdfast.model.storage import Datastore, Image
from holdfast.model.template import Section
from holdfast.model.vm import Vm

_IN_USE_PERSISTENT = (ImageState.USED_PERS, ImageState.LOCKED_USED_PERS)
_USABLE = (ImageState.READY, ImageState.USED)
_ARRIVING = (ImageState.LOCKED, ImageState.LOCKED_USED, ImageState.LOCKED_USED_PERS)
_UNUSED = {
    ImageState.USED: ImageState.READY,
    ImageState.USED_PERS: ImageState.READY,
    ImageState.LOCKED_USED: ImageState.LOCKED,
    ImageState.LOCKED_USED_PERS: ImageState.LOCKED,
}
"""What an image is when its last VM is gone."""


def acquire(work: Work, image: Image, vm_id: int, may_wait: bool = False) -> Image:
    """The image in use by one more VM, which may have to wait for it; raises ActionError when its state forbids it."""
    if image.state in _IN_USE_PERSISTENT:
        raise ActionError(f"Cannot acquire image {image.oid}, it is persistent and already in use")
    if image.state not in (*_USABLE, *(_ARRIVING if may_wait else ())):
        raise ActionError(f"Cannot acquire image {image.oid}, it is in state: {image.state.name}")
    insist_unlocked(image, LockLevel.USE)
    vms = image.vms if vm_id in image.vms else (*image.vms, vm_id)
    return put_in_state(work, replace(image, vms=vms), state_in_use(image))


def insist_unlocked(image: Image, level: LockLevel) -> None:
    """Raises LockedError when the image's lock forbids actions of this level."""
    if image.lock == LockLevel.ALL or 0 < image.lock <= level:
        raise LockedError("image", image.oid, f"Unlock it first: oneimage unlock {image.oid}.")


def begin_clone(work: Work, origin: Image, clone_id: int) -> None:
    """The image is being copied: until that is over it is neither changed nor written to.  Raises ActionError."""
    if origin.state not in (*_USABLE, ImageState.CLONE) or (origin.persistent and origin.vms):
        raise ActionError(
            f"Cannot clone image {origin.oid}, it is in state: {origin.state.name}{_before_a_clone(origin)}", origin.oid
        )
    state = ImageState.CLONE if origin.state is ImageState.READY else origin.state
    put_in_state(work, replace(origin, clones=(*origin.clones, clone_id)), state)


def _before_a_clone(origin: Image) -> str:
    """The reason of its state, and what to do about it."""
    if origin.state is ImageState.ERROR:
        reason = origin.template.get("ERROR") or "a VM that wrote to it was lost"
        return f" ({reason}). Mend that, then oneimage enable {origin.oid}."
    if origin.state is ImageState.DISABLED:
        return f". First: oneimage enable {origin.oid}."
    if is_arriving(origin):
        return f". Wait until its file is there (oneimage show {origin.oid})."
    return f". It must be READY, and a persistent one not used by VMs (oneimage show {origin.oid})."


def end_clone(work: Work, copy: Image) -> None:
    """The copy is there, or will never be: the image that it was made of is let go."""
    origin = work.find(Image, copy.cloning_id)
    if origin is None or copy.oid not in origin.clones:
        return
    left = replace(origin, clones=tuple(oid for oid in origin.clones if oid != copy.oid))
    over = left.state is ImageState.CLONE and not left.clones
    put_in_state(work, left, ImageState.READY if over else left.state)


def has_file(work: Work, image: Image) -> bool:
    """Whether the image's file was ever complete."""
    datastore = work.find(Datastore, image.datastore_id)
    return datastore is not None and image.oid in datastore.images


def is_arriving(image: Image) -> bool:
    """Whether its file is still being made."""
    return image.state in _ARRIVING


def is_there(image: Image) -> bool:
    """Whether VMs can work with it."""
    return image.state in (*_USABLE, ImageState.USED_PERS)


def state_in_use(image: Image) -> ImageState:
    """The state of the image while VMs use it, or wait for it."""
    if is_arriving(image):
        return ImageState.LOCKED_USED_PERS if image.persistent else ImageState.LOCKED_USED
    return ImageState.USED_PERS if image.persistent else ImageState.USED


def arrived(work: Work, image: Image) -> Image:
    """The image is there: READY, or in use by the VMs that waited for it."""
    state = (ImageState.USED_PERS if image.persistent else ImageState.USED) if image.vms else ImageState.READY
    return put_in_state(work, replace(image, template=image.template.without("ERROR")), state)


def release_images(work: Work, vm: Vm, failed: bool) -> None:
    """The VM is DONE: its images lose a user; a persistent one whose VM failed needs the operator's eye (ERROR)."""
    for disk in vm.template.sections("DISK"):
        _release(work, vm, disk, failed)


def release_detached(work: Work, before: Vm, after: Vm, certain: bool = True) -> None:
    """Disks have left the VM: so have their images, those that no other of its disks is made of.

    Unless it is certain, or the VM runs nowhere, its domain may still have the disk: the image is not lent out again.
    """
    if before.template is after.template:
        return
    kept = {_image_id(disk) for disk in after.template.sections("DISK")}
    unsure = not certain and bool(after.may_run_on)
    for disk in before.template.sections("DISK"):
        if _image_id(disk) not in kept:
            _release(work, after, disk, failed=unsure)


def _image_id(disk: Section) -> int:
    return int(disk.get("IMAGE_ID") or -1)


def _release(work: Work, vm: Vm, disk: Section, failed: bool) -> None:
    image = work.find(Image, _image_id(disk))
    if image is None or vm.oid not in image.vms:
        return
    left = replace(image, vms=tuple(oid for oid in image.vms if oid != vm.oid))
    if image.persistent:
        left = replace(left, size_mb=_grown(image, disk), modtime=work.second)
    if image.persistent and failed:
        put_in_state(work, left, ImageState.ERROR)
    elif not left.vms and image.clones and image.state is ImageState.USED:
        put_in_state(work, left, ImageState.CLONE)
    elif not left.vms and image.state in _UNUSED:
        put_in_state(work, left, _UNUSED[image.state])
    else:
        work.draft.put(left)


def _grown(image: Image, disk: Section) -> int:
    """The size of a persistent image whose disk was enlarged: they are one file."""
    size = disk.get("SIZE", "")
    return max(image.size_mb, int(size)) if size.isdecimal() else image.size_mb


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
