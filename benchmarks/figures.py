"""What is measured, and what comes out of it.

A measurement is taken on its own and gives one or more figures, each as soon as it is known.  ``n`` is the size that
the figure depends on (VMs, clients, rows of a batch); figures of one name with several n show how a cost grows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

BUILD = Path(__file__).resolve().parent.parent / "build"
"""On the checkout's own disk: a temporary directory may be in memory and would flatter what is synced."""


class Figure(NamedTuple):
    """One number."""

    name: str
    n: int
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class Measurement:
    """Gives the figures called ``names``; ``take(quick)`` measures, shorter and less when it is to be quick."""

    names: tuple[str, ...]
    take: Callable[[bool], Iterator[Figure]]

    def is_wanted(self, part: str) -> bool:
        """One of its figures has ``part`` in its name."""
        return any(part in name for name in self.names)
