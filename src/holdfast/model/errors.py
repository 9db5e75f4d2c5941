"""The error tree.  Each class carries the OpenNebula error code that the API answers with.

    HoldfastError                INTERNAL        8192
    ├── AuthenticationError      AUTHENTICATION   256
    ├── AuthorizationError       AUTHORIZATION    512
    ├── NoSuchObject             NO_EXISTS       1024
    ├── ActionError              ACTION          2048   wrong state, name collision
    ├── ArgumentError            RPC_API         4096   bad argument value
    ├── TemplateError            INTERNAL        8192   malformed template (line and column in the text)
    ├── StoreError               INTERNAL        8192   the change could not be stored; nothing has changed
    ├── AllocateError            ALLOCATE       16384   object could not be created
    └── LockedError              LOCKED         32768   a user has locked the object

Messages name the input, the rule and the way out; the API adds the method name in front.
"""

from typing import ClassVar


class HoldfastError(Exception):
    """Something that a caller can be told; ``code`` is the OpenNebula error code."""

    code: ClassVar[int] = 0x2000

    def __init__(self, message: str, object_id: int = -1) -> None:
        super().__init__(message)
        self.message = message
        self.object_id = object_id


class AuthenticationError(HoldfastError):
    """The session is not that of a known user."""

    code = 0x0100


class AuthorizationError(HoldfastError):
    """The user may not do this."""

    code = 0x0200


class NoSuchObject(HoldfastError):
    """No object has this id."""

    code = 0x0400

    def __init__(self, kind: str, object_id: int) -> None:
        super().__init__(f"Error getting {kind} [{object_id}].", object_id)


class ActionError(HoldfastError):
    """The object's state does not allow the action."""

    code = 0x0800


class ArgumentError(HoldfastError):
    """An argument has a value that is not allowed."""

    code = 0x1000


class TemplateError(HoldfastError):
    """A template cannot be read; the message names line and column."""


class StoreError(HoldfastError):
    """The store refused the commit: nothing has changed anywhere."""


class AllocateError(HoldfastError):
    """An object could not be created."""

    code = 0x4000

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(f"Error allocating a new {kind}. {reason}")


class LockedError(HoldfastError):
    """The lock of the object forbids the action."""

    code = 0x8000

    def __init__(self, kind: str, object_id: int, way_out: str) -> None:
        super().__init__(f"The resource {kind} is locked. [{object_id}]. {way_out}", object_id)
