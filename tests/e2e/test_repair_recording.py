"""The recording in the guide is what happens today."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "guide"
_DATE = re.compile(r"\d\d/\d\d \d\d:\d\d:\d\d")


def maker(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_repair_recording", GUIDE / "make_repair_recording.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def undated(text: str) -> str:
    return _DATE.sub("date and time", text)


def test_the_recording_of_a_repair_shows_what_happens_today(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = [json.loads(line) for line in (GUIDE / "repair.cast").read_text().splitlines()[1:]]
    screen = "".join(text for _, _, text in recorded).replace("\r\n", "\n")
    make = maker(monkeypatch)
    assert undated(make.record(tmp_path).screen) == undated(screen)
    assert (GUIDE.parent / "images" / "repair.svg").read_text() == make.picture_of(screen)
