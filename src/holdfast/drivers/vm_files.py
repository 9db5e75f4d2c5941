"""The controller's own files about a VM, where OpenNebula keeps them: ``vms/<id>/deployment.<seq>``, ``transfer.…``."""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.drivers import expendable


async def write_vm_file(vms_path: Path, vm_id: int, name: str, text: str, limit_s: float) -> Path:
    """Writes the file whole or not at all; raises OSError or Overdue."""
    path = vms_path / str(vm_id) / name
    await expendable.call(lambda: _write_private(path, text), limit_s, f"writing {path}")
    return path


async def read_vm_file(path: Path, limit_s: float) -> str:
    """The file's text; raises OSError or Overdue."""
    return await expendable.call(lambda: path.read_text(encoding="utf-8"), limit_s, f"reading {path}")


def _write_private(path: Path, text: str) -> None:
    """Replaces the file (0600) in its directory (0700): a deployment file may hold the password of a console."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)
