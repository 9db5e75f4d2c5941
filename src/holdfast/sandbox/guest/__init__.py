"""The guest of the sandbox: a kernel, one small program as its whole userspace, and the VM template to run it."""

from holdfast.sandbox.guest.image import GuestImage, ensure_guest
from holdfast.sandbox.guest.template import guest_template, make_ledger_image

__all__ = ["GuestImage", "ensure_guest", "guest_template", "make_ledger_image"]
