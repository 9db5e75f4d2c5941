"""A program (``python -m``) that reads a URL or a compressed file, checks it, and writes it as a sparse file.

It takes one order (JSON) on stdin and answers in lines of JSON on stdout: how far it is, at last ``{"ok": true}`` or
the reason why not.  It is a program of its own so that a server that stalls, a file that takes for ever to unpack or a
fault in a decompressor costs no more than this process, which its caller ends.  When nobody reads what it says any
more, it ends by itself.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import hashlib
import io
import json
import lzma
import os
import ssl
import sys
import time
import zlib
from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import IO, Any
from urllib import error as url_error
from urllib import request

from holdfast.drivers.image_origin import PathRules, open_checked, scheme_of
from holdfast.drivers.tm.lines import TransferError
from holdfast.model.free_text import printable, shortened

DIGESTS = ("MD5", "SHA1", "SHA256", "SHA512")
"""Checksums that a template may give, by attribute."""
MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}
"""How compressed files begin."""

Unpacker = gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile
_UNPACKERS: Mapping[str, Callable[[IO[bytes]], Unpacker]] = {
    "gzip": lambda packed: gzip.GzipFile(fileobj=packed),
    "bzip2": bz2.BZ2File,
    "xz": lzma.LZMAFile,
}
_BROKEN = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, HTTPException)
_DISK_BLOCK = 512
_MIB = 1 << 20
_CHUNK = 1 << 20
_BLOCK = 1 << 16
_HOLE = bytes(_BLOCK)
_MODE = 0o660
_TELL_EVERY_S = 0.5
_STALL_S = 30.0
_SAID_LIMIT = 200
_LARGEST_RESERVE = 1 << 30
_LOOK_EVERY = 16 << 20
_REDIRECTIONS = (301, 302, 303, 307, 308)
_AGAIN = "see that the server is well, then try again (oneimage enable)"

Tell = Callable[[int, int], None]
"""Is told the bytes read, and how many there are (0 when nobody knows)."""


class Source(io.RawIOBase):
    """What is read: counted, and put through the checksums."""

    def __init__(self, origin: str, file: Any, total: int, names: Mapping[str, str], tell: Tell) -> None:
        super().__init__()
        self.origin, self.total, self._tell = origin, total, tell
        self._read: Callable[[int], bytes] = getattr(file, "read1", file.read)  # what came counts before more is there
        self._wanted = names
        self._digests = {name: hashlib.new(name.lower(), usedforsecurity=False) for name in names}
        self.count = 0
        self.ended = False
        self.trouble: TransferError | None = None

    def readable(self) -> bool:
        """It is there to be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Reads what there is; a connection that breaks is noted, because decompressors hide it."""
        try:
            data = self._read(len(buffer))
        except (OSError, HTTPException) as error:
            self.trouble = TransferError(
                f"{self.origin}: reading stopped after {self.count} bytes: {_in_short(error)}; {_AGAIN}"
            )
            raise
        for digest in self._digests.values():
            digest.update(data)
        self.count += len(data)
        self.ended = not data
        self._tell(self.count, self.total)
        buffer[: len(data)] = data
        return len(data)

    def check(self) -> None:
        """After the end: raises TransferError unless it was whole and what the template says."""
        if self.total and self.count != self.total:
            raise TransferError(
                f"{self.origin}: the connection ended early: {self.count} of {self.total} bytes came; {_AGAIN}"
            )
        for name, digest in self._digests.items():
            if digest.hexdigest() != self._wanted[name].strip().lower():
                raise TransferError(
                    f"{self.origin}: the file's {name} is {digest.hexdigest()}, the image's template says "
                    f"{self._wanted[name]}: the file was changed or damaged on its way, or the checksum is another "
                    f"file's"
                )


class Target:
    """The file that is made; blocks of zeros stay holes, and it never takes more than its limit.

    ``reserve_bytes``: so much of the file system is left for others, whoever else writes there meanwhile.
    """

    def __init__(self, path: str, origin: str, limit_bytes: int, reserve_bytes: int) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        self._origin, self._reserve_bytes = origin, reserve_bytes
        unreserved_bytes = max(0, self._free_bytes() - reserve_bytes)
        self._limit_bytes, self._is_reserve_felt = min(limit_bytes, unreserved_bytes), unreserved_bytes < limit_bytes
        self._taken = 0
        self._position = 0
        self._look_at = 0

    def write(self, data: bytes) -> None:
        """Appends; raises TransferError when there is no room."""
        for start in range(0, len(data), _BLOCK):
            block = data[start : start + _BLOCK]
            if block != _HOLE[: len(block)]:
                self._write_block(block)
            self._position += len(block)

    def _write_block(self, block: bytes) -> None:
        self._taken += len(block)
        if self._taken > self._limit_bytes:
            raise self._full(self._limit_bytes)
        if self._taken >= self._look_at:
            self._look_at = self._taken + _LOOK_EVERY
            if self._free_bytes() < self._reserve_bytes:
                self._is_reserve_felt = True
                raise self._full(self._taken)
        try:
            done = 0
            while done < len(block):
                done += os.pwrite(self._descriptor, block[done:], self._position + done)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise self._full(self._taken) from None
            raise TransferError(f"{self._origin}: writing it to the datastore failed: {error.strerror}") from None

    def _free_bytes(self) -> int:
        found = os.fstatvfs(self._descriptor)
        return found.f_bavail * found.f_frsize

    def _full(self, left_bytes: int) -> TransferError:
        reserve = -(-self._reserve_bytes // _MIB) if self._is_reserve_felt else 0
        more = f" besides a reserve of {reserve} MB, as nobody knew how big it is" if reserve else ""
        return TransferError(no_room(self._origin, self._taken, left_bytes, "at least ", more))

    def finish(self) -> None:
        """Its size is what was written, holes included."""
        os.ftruncate(self._descriptor, self._position)
        os.close(self._descriptor)


def no_room(what: str, needed_bytes: int, left_bytes: int, at_least: str = "", besides: str = "") -> str:
    """The refusal of something that does not fit."""
    return (
        f"the datastore is full: {what} needs {at_least}{-(-needed_bytes // _MIB)} MB, {left_bytes // _MIB} MB are "
        f"left{besides} (onedatastore show): free some space, use another datastore, or set a higher LIMIT_MB if it "
        f"has one"
    )


def reserve_bytes(path: str) -> int:
    """What an import whose size nobody knows leaves free on the file system of ``path``: 2 %, no more than 1 GiB."""
    found = os.statvfs(os.path.dirname(path))
    return min(_LARGEST_RESERVE, found.f_blocks * found.f_frsize // 50)


def kind_of(beginning: bytes) -> str:
    """How a file that begins so is compressed; empty when it is not."""
    return next((kind for magic, kind in MAGIC.items() if beginning.startswith(magic)), "")


def fetch(order: Mapping[str, Any], tell: Tell) -> None:
    """Does what the order says; raises TransferError."""
    origin, limit_bytes = str(order["origin"]), int(order["limit_bytes"])
    rules = PathRules(**{name: tuple(words) for name, words in order["rules"].items()})
    file, total, needed_bytes = _fetched(origin) if scheme_of(origin) else _opened(origin, rules)
    with file:
        # Without a check of capacity what a server announces refuses nothing: much of it may be holes.
        counts = bool(order["capacity_checked"]) or not scheme_of(origin)
        if counts and needed_bytes > limit_bytes:
            raise TransferError(no_room(origin, needed_bytes, limit_bytes))
        source = Source(origin, file, total, order["digests"], tell)
        try:
            target = _copy(source, str(order["target"]), origin, limit_bytes, bool(order["unpack"]))
        except TransferError:
            raise
        except _BROKEN as error:
            raise source.trouble or TransferError(f"{origin}: {_in_short(error)}") from None
        source.check()
        target.finish()


def _copy(source: Source, path: str, origin: str, limit_bytes: int, unpack: bool) -> Target:
    raw = io.BufferedReader(source, _CHUNK)
    kind = kind_of(raw.peek(8)[:8]) if unpack else ""
    is_sized = source.total and not kind
    target = Target(path, origin, limit_bytes, 0 if is_sized else reserve_bytes(path))
    if kind:
        _unpack(kind, raw, source, target)
    while data := raw.read(_CHUNK):
        if not kind:
            target.write(data)  # after a compressed file the rest counts for the checksum alone
    return target


def _unpack(kind: str, raw: IO[bytes], source: Source, target: Target) -> None:
    unpacker = _UNPACKERS[kind](raw)
    while True:
        try:
            data = unpacker.read(_CHUNK)
        except _BROKEN as error:
            if source.ended:
                source.check()  # what did not come whole cannot be whole
            if source.trouble:
                raise source.trouble from None
            raise TransferError(
                f"{source.origin}: the file is damaged, it cannot be decompressed ({kind}: {error}); if it is meant to "
                f"be stored as it is, set NO_DECOMPRESS = YES in the image's template"
            ) from None
        if not data:
            return
        target.write(data)


def _opened(origin: str, rules: PathRules) -> tuple[IO[bytes], int, int]:
    """A file of this machine, its size, and what it takes without its holes."""
    descriptor = open_checked(origin, rules)
    found = os.fstat(descriptor)
    return os.fdopen(descriptor, "rb", buffering=0), found.st_size, min(found.st_size, found.st_blocks * _DISK_BLOCK)


def _fetched(origin: str) -> tuple[IO[bytes], int, int]:
    """A server's answer, its size (0 when it does not say), and what it takes."""
    try:
        answer = _web().open(request.Request(origin, headers={"User-Agent": "holdfast"}), timeout=_STALL_S)
    except (url_error.URLError, OSError, ValueError, HTTPException) as error:
        raise TransferError(f"{origin} cannot be fetched: {_why_no_answer(error)}") from None
    length = answer.headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() else 0
    return answer, total, total


def _why_no_answer(error: Exception) -> str:
    """What happened, and what to do about it."""
    if isinstance(error, url_error.HTTPError):
        if error.code in _REDIRECTIONS:
            return f"its redirections lead nowhere ({_in_short(error)}); give the address of the file itself"
        return f"the server answers {error.code} {_in_short(error.reason)}; see that the address is right"
    if isinstance(error, HTTPException):
        return (
            f"the server does not answer as a web server does ({type(error).__name__}: {_in_short(error)}); see that "
            f"the address and the port are those of one"
        )
    reason = error.reason if isinstance(error, url_error.URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not valid ({reason.verify_message}); use its right name, or have this machine trust "
            f"who signed it"
        )
    if isinstance(reason, ssl.SSLError):
        return f"the server does not speak TLS as this machine does ({_in_short(reason.reason)}); perhaps it is http://"
    return f"{_in_short(reason)}; see that the address is right and that this machine can reach it"


def _in_short(said: object) -> str:
    return shortened(" ".join(printable(str(said).replace("\n", " ")).split()), _SAID_LIMIT)


def _web() -> request.OpenerDirector:
    """Only the web: a redirection cannot lead to a file of this machine."""
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler,
        request.HTTPHandler,
        request.HTTPSHandler,
        request.HTTPRedirectHandler,
        request.HTTPDefaultErrorHandler,
        request.HTTPErrorProcessor,
        request.UnknownHandler,
    ):
        opener.add_handler(handler())
    return opener


def _say(**values: object) -> None:
    print(json.dumps(values), flush=True)


def main() -> int:
    """Carries out the order on stdin."""
    told_at = 0.0

    def tell(done: int, total: int) -> None:
        nonlocal told_at
        if time.monotonic() - told_at > _TELL_EVERY_S:
            told_at = time.monotonic()
            _say(done=done, total=total)

    try:
        fetch(json.load(sys.stdin), tell)
    except TransferError as error:
        _say(ok=False, message=error.message)
        return 1
    except Exception as error:  # noqa: BLE001 - what is shown to a user is a sentence, never where our program was
        _say(ok=False, message=shortened(printable(f"fetching failed: {type(error).__name__}: {error}"), _SAID_LIMIT))
        return 1
    _say(ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
