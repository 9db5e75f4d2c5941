"""``$FILE[IMAGE_ID=3]`` and ``$FILE[IMAGE="name"]``: files of file datastores that a VM's template names.

``OS/KERNEL_DS`` and ``OS/INITRD_DS`` are such references; what follows from them (KERNEL_DS_SOURCE …) is ours to say.
"""

from __future__ import annotations

import re

from holdfast.engine.handlers.sizes import shown, whole_number
from holdfast.engine.work import Work
from holdfast.model.enums import ImageState, ImageType
from holdfast.model.errors import ActionError, TemplateError
from holdfast.model.storage import Datastore, Image
from holdfast.model.template import Section

_REFERENCE = re.compile(r"""\$FILE\s*\[\s*(IMAGE_ID|IMAGE)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'\],]+))\s*\]""", re.I)
_KERNELS = {"KERNEL_DS": ImageType.KERNEL, "INITRD_DS": ImageType.RAMDISK}
_USABLE = (ImageState.READY, ImageState.USED)
_MAX_ID = 2**31 - 1


def file_images(work: Work, text: str, kind: ImageType, attribute: str) -> list[Image]:
    """The images that are named; raises TemplateError, ActionError for one that is not of this type or not there."""
    found, rest = [], text.strip()
    while rest:
        match = _REFERENCE.match(rest)
        if not match:
            raise TemplateError(f'{attribute} must be $FILE[IMAGE_ID=3] or $FILE[IMAGE="name"], it is {shown(text)}.')
        found.append(_file(work, match, kind, attribute))
        rest = rest[match.end() :].lstrip(" ,")
    return found


def _file(work: Work, match: re.Match[str], kind: ImageType, attribute: str) -> Image:
    image = _image(work, match[1].upper(), match[2] or match[3] or match[4] or "", attribute)
    if image.type is not kind:
        raise TemplateError(f"{attribute}: image {image.oid} is of type {image.type.name}, it must be {kind.name}.")
    if image.state not in _USABLE:
        raise ActionError(f"{attribute}: image {image.oid} ({image.name}) is in state {image.state.name}, not READY.")
    return image


def _image(work: Work, by: str, word: str, attribute: str) -> Image:
    if by == "IMAGE_ID":
        number = whole_number(word, _MAX_ID)
        if number is None:
            raise TemplateError(f"{attribute}: IMAGE_ID must be a number, it is {shown(word)}: see oneimage list.")
        return work.get(Image, number)
    for image in work.draft.matching(Image, word):
        return image
    raise TemplateError(f"{attribute}: there is no image named {shown(word)}: see oneimage list.")


def with_kernels(work: Work, os: Section) -> Section:
    """OS, with where its kernel and initrd come from; the same attributes in the request are not the user's to say."""
    own = {name: text for name, text in os.items() if not name.startswith(tuple(f"{key}_" for key in _KERNELS))}
    for attribute, kind in _KERNELS.items():
        if own.get(attribute):
            image, *more = file_images(work, own[attribute], kind, f"OS/{attribute}")
            if more:
                raise TemplateError(f"OS/{attribute} must name one file, it names {1 + len(more)}.")
            datastore = work.get(Datastore, image.datastore_id)
            own |= {
                f"{attribute}_ID": str(image.oid),
                f"{attribute}_SOURCE": image.source,
                f"{attribute}_DSID": str(datastore.oid),
                f"{attribute}_TM": datastore.tm_mad,
            }
    return Section(own)
