"""What the template of a new image may say of its file: refused here is what could only fail after a long import."""

from __future__ import annotations

from collections.abc import Mapping
from string import hexdigits

from holdfast.model.enums import ImageType
from holdfast.model.errors import AllocateError, TemplateError
from holdfast.model.template import Template

FILES = (ImageType.KERNEL, ImageType.RAMDISK, ImageType.CONTEXT)
"""What a file datastore holds."""
CHECKSUM_DIGITS: Mapping[str, int] = {"MD5": 32, "SHA1": 40, "SHA256": 64, "SHA512": 128}
"""The checksums that a template may give, and how many hexadecimal digits each has."""
DISK_FORMATS = ("raw", "qcow2")
"""How the file of an image may be laid out."""


def check_origin(template: Template, kind: ImageType) -> None:
    """PATH and what goes with it; raises AllocateError or TemplateError."""
    path, size_mb = template.get("PATH"), template.get_int("SIZE", 0)
    if template.get("SOURCE"):
        raise AllocateError("image", "SOURCE cannot be given: every image gets a file of its own, copied from PATH.")
    if path and any(character.isspace() for character in path):
        raise AllocateError("image", f'PATH "{path}" holds blanks: rename the file, or write %20 in a URL.')
    if not path and size_mb <= 0:
        raise AllocateError("image", "PATH (a file to copy) or SIZE in MB (an empty disk) must be given.")
    if size_mb < 0:
        raise AllocateError("image", f"SIZE is {size_mb}; it is a number of MB.")
    if kind in FILES:
        _check_file(kind, path, size_mb)
    _check_format(template)
    check_checksums(template)
    given = next((name for name in CHECKSUM_DIGITS if template.get(name)), "")
    if given and not path:
        raise AllocateError("image", f"{given} is the checksum of the file that PATH names: there is no PATH.")


def _check_file(kind: ImageType, path: str, size_mb: int) -> None:
    if not path:
        raise AllocateError("image", f"An image of type {kind.name} needs a PATH: the file to copy.")
    if size_mb:
        raise AllocateError("image", f"An image of type {kind.name} is as big as its file: leave SIZE out.")


def _check_format(template: Template) -> None:
    for name in ("FORMAT", "DRIVER"):
        wanted = template.get(name)
        if wanted and wanted.lower() not in DISK_FORMATS:
            raise AllocateError(
                "image",
                f'{name} is "{wanted}"; images are {" or ".join(DISK_FORMATS)}. Convert the file first: qemu-img '
                f"convert -O qcow2 FROM TO, and leave {name} out: it is found in the file.",
            )


def check_checksums(template: Template) -> None:
    """Whether they can be checksums at all; raises TemplateError."""
    for name, digits in CHECKSUM_DIGITS.items():
        text = template.get(name).strip()
        if not text or (len(text) == digits and set(text) <= set(hexdigits)):
            continue
        raise TemplateError(
            f'{name} must be {digits} hexadecimal digits, it is "{text[:140]}" ({_looks_like(text)}): it is what '
            f"{name.lower()}sum prints for the file."
        )


def _looks_like(text: str) -> str:
    other = next((name for name, digits in CHECKSUM_DIGITS.items() if digits == len(text)), "")
    return f"{len(text)} characters" + (f", as many as {other} has" if other else "")
