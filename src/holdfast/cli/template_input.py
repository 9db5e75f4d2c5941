"""Where templates come from: a file, standard input, or an editor opened on what is there now."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

from holdfast.cli.errors import CliError, UsageError
from holdfast.cli.grammar import Call
from holdfast.cli.options import Option
from holdfast.cli.screen import attributes


def read_template(path: str | None) -> str | None:
    """The text of ``path`` (``-`` is standard input); without one, standard input unless it is a terminal."""
    if path is not None and path != "-":
        try:
            return Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise CliError(f"Cannot read {path}: {error.strerror}.") from None
        except UnicodeDecodeError:
            raise CliError(f"Cannot read {path}: it is not UTF-8 text.") from None
    if path == "-" or (sys.stdin is not None and not sys.stdin.isatty()):
        return sys.stdin.read() or None
    return None


def new_template(call: Call, path: str | None, options: Sequence[Option], made: str) -> str:
    """The template of an object to create: the file's, or ``made`` from the options; never a mixture."""
    used = [option for option in options if call.values.switch(option.long)]
    if used and path is not None:
        names = ", ".join(f"--{option.long}" for option in used)
        raise UsageError(f"Give a template file or template options, not both: {path} and {names}.")
    text = made if used else read_template(path)
    if not (text or "").strip():
        ways = " or options that describe the object" if options else ""
        raise UsageError(f"No template: give a file, standard input{ways}.", with_help=True)
    return text or ""


def changed_template(call: Call, path: str | None, present: Callable[[], Element | None]) -> str | None:
    """The text for an update: file, standard input, or the editor's; None when the editor changed nothing."""
    text = read_template(path)
    if text is not None:
        return text
    if not sys.stdin.isatty():
        raise UsageError("No template: give a file or standard input.", with_help=True)
    before = "" if call.values.switch("append") else "\n".join(attributes(present()))
    after = _edit(before)
    return after if after.strip() != before.strip() else None


def _edit(text: str) -> str:
    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    with tempfile.TemporaryDirectory(prefix="one-template-") as directory:
        path = Path(directory, "template.txt")
        path.write_text(text + "\n", encoding="utf-8")
        try:
            # A person is editing: this is the one subprocess without a deadline.
            subprocess.run([*editor, str(path)], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise CliError(
                f"The editor {editor[0]} failed ({error}); nothing was changed. EDITOR names another."
            ) from None
        return path.read_text(encoding="utf-8")
