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


def test_every_installed_command_begins_at_the_entry() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name, target in project["scripts"].items():
        module, _, function = target.partition(":")
        assert callable(getattr(import_module(module), function))
        assert name == "holdfast-agent" or target == f"holdfast.cli.entry:{name}"
