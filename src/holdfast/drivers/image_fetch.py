"""A program (``python -m``) that reads a URL or a compressed file, checks it, and writes it as a sparse file.

It takes one order (JSON) on stdin and answers in lines of JSON on stdout: how far it is, at last ``{"ok": true}`` or
the reason why not.  It is a program of its own so that a server that stalls, a file that takes for ever to unpack or a
fault in a decompressor costs no more than this process, which its caller ends.  When nobody reads what it says any
more, it ends by itself.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
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

Tell = Callable[[int, int], None]
"""Is told the bytes read, and how many there are (0 when nobody knows)."""


class Source(io.RawIOBase):
    """What is read: counted, and put through the checksums."""

    def __init__(self, file: IO[bytes], total: int, names: Mapping[str, str], tell: Tell) -> None:
        super().__init__()
        self._file, self.total, self._tell = file, total, tell
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
            data = self._file.read(len(buffer))
        except (OSError, HTTPException) as error:
            said = shortened(printable(str(error)), _SAID_LIMIT)
            self.trouble = TransferError(f"reading stopped after {self.count} bytes: {said}")
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
            raise TransferError(f"the connection ended early: {self.count} of {self.total} bytes came")
        for name, digest in self._digests.items():
            if digest.hexdigest() != self._wanted[name].strip().lower():
                raise TransferError(
                    f"the file's {name} is {digest.hexdigest()}, the image's template says {self._wanted[name]}: the "
                    f"file was changed or damaged on its way, or the checksum is another file's"
                )


class Target:
    """The file that is made; blocks of zeros stay holes, and it never takes more than its limit."""

    def __init__(self, path: str, limit_bytes: int) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        self._limit_bytes = limit_bytes
        self._taken = 0
        self._position = 0

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
            raise TransferError(no_room("the image", self._taken, self._limit_bytes, "at least "))
        try:
            done = 0
            while done < len(block):
                done += os.pwrite(self._descriptor, block[done:], self._position + done)
        except OSError as error:
            raise TransferError(f"writing the image failed: {error.strerror}") from None

    def finish(self) -> None:
        """Its size is what was written, holes included."""
        os.ftruncate(self._descriptor, self._position)
        os.close(self._descriptor)


def no_room(what: str, needed_bytes: int, left_bytes: int, more: str = "") -> str:
    """The refusal of something that does not fit."""
    return (
        f"the datastore is full: {what} needs {more}{-(-needed_bytes // _MIB)} MB, {left_bytes // _MIB} MB are left "
        f"(onedatastore show): free some space, or use another datastore"
    )


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
        source = Source(file, total, order["digests"], tell)
        target = Target(str(order["target"]), limit_bytes)
        try:
            _copy(source, target, bool(order["unpack"]))
        except TransferError:
            raise
        except _BROKEN as error:
            raise source.trouble or TransferError(str(error)) from None
        source.check()
        target.finish()


def _copy(source: Source, target: Target, unpack: bool) -> None:
    raw = io.BufferedReader(source, _CHUNK)
    kind = kind_of(raw.peek(8)[:8]) if unpack else ""
    if kind:
        _unpack(kind, raw, source, target)
    while data := raw.read(_CHUNK):
        if not kind:
            target.write(data)  # after a compressed file the rest counts for the checksum alone


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
                f"the file is damaged, it cannot be decompressed ({kind}: {error}); if it is meant to be stored as it "
                f"is, set NO_DECOMPRESS = YES in the image's template"
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
    except url_error.HTTPError as error:
        raise TransferError(f"{origin} cannot be fetched: the server answers {error.code} {error.reason}") from None
    except HTTPException as error:
        said = shortened(printable(f"{type(error).__name__}: {error}"), _SAID_LIMIT)
        raise TransferError(
            f"{origin} cannot be fetched: the server does not answer as a web server does ({said}); see that the "
            f"address and the port are those of one"
        ) from None
    except (url_error.URLError, OSError, ValueError) as error:
        reason = error.reason if isinstance(error, url_error.URLError) else error
        raise TransferError(f"{origin} cannot be fetched: {reason}") from None
    length = answer.headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() else 0
    return answer, total, total


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
