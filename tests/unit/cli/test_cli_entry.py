"""Ctrl-C at any time of a command's life, as the installed commands begin it: each test is a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

_TIME_LIMIT_S = 60.0
_WHILE_IMPORTING = """
import os, sys

class Interrupter:
    def find_spec(self, name, *rest):
        if name == {module!r}:
            os.kill(os.getpid(), 2)

sys.meta_path.insert(0, Interrupter())
"""
_WHILE_ENDING = "import atexit, os, signal; atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))\n"
_COMMAND = "import sys; from holdfast.cli.entry import {name}; sys.argv[1:] = ['--help']; sys.exit({name}())"


def _ignore() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _run(before: str, name: str, ignored: bool = False) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", before + _COMMAND.format(name=name)],
        capture_output=True,
        text=True,
        timeout=_TIME_LIMIT_S,
        env=os.environ | {"PYTHONPATH": "src"},
        preexec_fn=_ignore if ignored else None,
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("onevm", "enum"),
        ("onevm", "holdfast.cli.onevm"),
        ("onehost", "holdfast.cli.grammar"),
        ("holdfast", "holdfast.sandbox.rack"),
        ("holdfast", "http.client"),
    ],
)
def test_ctrl_c_during_the_imports_ends_with_130_and_says_nothing(name: str, module: str) -> None:
    ended = _run(_WHILE_IMPORTING.format(module=module), name)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_ctrl_c_while_the_interpreter_ends_leaves_no_traceback() -> None:
    ended = _run(_WHILE_ENDING, "onevm")
    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, "")


def test_a_command_whose_parent_ignores_ctrl_c_ignores_it_too() -> None:
    ended = _run(_WHILE_IMPORTING.format(module="holdfast.cli.grammar"), "onevm", ignored=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "manages virtual machines" in ended.stdout


_MANY_LINES = "import sys; from holdfast.cli import {name}; {name}.main = lambda: print('x' * {size}) or 0\n"
_INSTALLED = "from holdfast.cli import entry; sys.exit(entry.{name}())"


def _written(
    redirection: str, name: str, size: int = 1 << 20, unbuffered: str = ""
) -> subprocess.CompletedProcess[str]:
    """A command that prints so much, its standard output redirected by a shell."""
    return _in_shell(redirection, (_MANY_LINES + _INSTALLED).format(name=name, size=size), unbuffered)


def _in_shell(redirection: str, program: str, unbuffered: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f'"$0" -c "$1" {redirection}', sys.executable, program],
        capture_output=True,
        text=True,
        timeout=_TIME_LIMIT_S,
        env=os.environ | {"PYTHONPATH": "src", "PYTHONUNBUFFERED": unbuffered},
        check=False,
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("size", [1, 1 << 20])
@pytest.mark.parametrize("name", ["onevm", "holdfast"])
def test_a_full_disk_below_the_output_is_said_in_a_line(name: str, size: int, unbuffered: str) -> None:
    ended = _written("> /dev/full", name, size, unbuffered)
    assert (ended.returncode, ended.stderr) == (
        255,
        f"{name}: the output cannot be written: No space left on device\n",
    )


def test_a_closed_output_is_said_in_a_line_by_a_command_that_has_something_to_say() -> None:
    ended = _written(">&-", "oneimage")
    assert (ended.returncode, ended.stderr) == (255, "oneimage: the output cannot be written: Bad file descriptor\n")


def test_with_closed_output_and_errors_nothing_but_the_exit_code_is_left() -> None:
    assert _written(">&- 2>&-", "onehost").returncode == 255


@pytest.mark.parametrize("name", ["onevm", "onehost", "holdfast"])
def test_help_on_a_full_disk_and_on_a_pipe_that_nobody_reads_leaves_no_traceback(name: str) -> None:
    for redirection, said in (("> /dev/full", 1), ("| true", 0)):
        program = f"import sys; sys.argv[1:] = ['--help']; {_INSTALLED.format(name=name)}"
        ended = _in_shell(redirection, program)
        assert len(ended.stderr.splitlines()) == said
        assert "Traceback" not in ended.stderr


def test_a_reader_that_goes_away_early_ends_a_command_quietly() -> None:
    ended = _written("| head -c 1", "onevm")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "x", "")


def test_every_installed_command_begins_at_the_entry() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name, target in project["scripts"].items():
        module, _, function = target.partition(":")
        assert callable(getattr(import_module(module), function))
        assert name == "holdfast-agent" or target == f"holdfast.cli.entry:{name}"
