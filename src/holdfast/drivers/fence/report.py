"""What the fence driver hands on: readings and reports, free of secrets and of bounded size.

The raw output is kept word for word, because it becomes part of a proof of death, except for the secrets that an agent
may echo: those are blanked in every notation in which agents print them, before anything is cut.
"""

from __future__ import annotations

import base64
import functools
import html
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from holdfast.drivers.fence.classify import Outcome, PowerState
from holdfast.drivers.process import Completed

RAW_LIMIT = 8 * 1024
"""Characters of raw output in a report."""

_BLANK = "[hidden]"
_LONGEST_FORM = 19
"""Characters that one letter may take: three backslashes and four bytes in octal."""
_STAMP = re.compile(r"^[0-9-]+ [0-9:,]+ (ERROR|WARNING): ")


@dataclass(frozen=True, slots=True)
class PowerReading:
    """One answer of a device to the question whether the host has power."""

    state: PowerState
    text: str
    raw: str
    took_s: float


@dataclass(frozen=True, slots=True)
class FenceReport:
    """How an attempt to switch a host off ended; ``ok`` only if a second reading says off."""

    ok: bool
    outcome: Outcome
    text: str
    raw: str
    took_s: float
    level: int
    devices: tuple[str, ...]


class Transcript:
    """The conversation with a device, one block for each agent run."""

    def __init__(self) -> None:
        self._blocks: list[str] = []

    def add(self, title: str, done: Completed, secrets: Iterable[str]) -> None:
        """Appends what an agent run printed, without empty lines."""
        secrets = tuple(secrets)
        longest = max(len(done.stdout), len(done.stderr))
        body = ""
        for output in (done.stdout, done.stderr):
            text = redacted(output, secrets, cut=done.truncated and len(output) == longest)
            body += "".join(line + "\n" for line in text.splitlines() if line.strip())
        ending = "stopped by us" if done.timed_out else f"exit {done.code}"
        self._blocks.append(f"$ {title}: {ending} after {done.took_s:.2f} s\n{body}".rstrip())

    @property
    def text(self) -> str:
        """Everything so far, bounded."""
        return bounded("\n".join(self._blocks))

    @property
    def last_words(self) -> str:
        """The line in which the agent that spoke last says what is wrong, empty if it said nothing."""
        lines = self._blocks[-1].splitlines()[1:] if self._blocks else []
        telling = [line for line in lines if line.strip() and "-h' for usage" not in line]
        return _STAMP.sub("", telling[-1].strip()) if telling else ""


def redacted(output: bytes, secrets: Iterable[str], *, cut: bool = False) -> str:
    """The output as text with every secret blanked, as it is and as agents quote, escape or encode it.

    An output that was ``cut`` loses its end, where the first half of a secret could stand.
    """
    text = output.decode(errors="replace")
    hushed = sorted((secret for secret in secrets if secret), key=len, reverse=True)
    if cut and hushed:
        text = text[: -_LONGEST_FORM * len(hushed[0])]
    for secret in hushed:
        text = re.sub("".join(map(_letter, secret)), _BLANK, text)
        text = text.replace(base64.b64encode(secret.encode()).decode(), _BLANK)
    return text


@functools.cache
def _letter(letter: str) -> str:
    """A pattern for a letter as itself, behind backslashes, and escaped for URLs, shells, Python, JSON and HTML."""
    coded = letter.encode()
    forms = {letter, json.dumps(letter)[1:-1], ascii(letter)[1:-1], html.escape(letter)}
    for notation in ("%{:02X}", "%{:02x}", "\\x{:02x}", "\\{:03o}"):
        forms.add("".join(notation.format(byte) for byte in coded))
    if letter == "'":
        forms.add("'\"'\"'")
    return r"\\{0,3}(?:" + "|".join(map(re.escape, sorted(forms, key=len, reverse=True))) + ")"


def bounded(text: str, limit: int = RAW_LIMIT) -> str:
    """``text``, with its middle left out where it is longer than the limit."""
    if len(text) <= limit:
        return text
    note = "\n[... output left out ...]\n"
    head = limit // 4
    return text[:head] + note + text[-(limit - head - len(note)) :]
