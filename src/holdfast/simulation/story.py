"""The story of a run: what happened when, told in order.

Telling costs almost nothing; sentences are only written out when somebody reads them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from holdfast.simulation.kernel import Kernel

Line = tuple[float, str, tuple[object, ...]]


class Story:
    """Remembers the last ``limit`` lines, or all of them."""

    def __init__(self, kernel: Kernel, start: float, limit: int | None = None) -> None:
        self._kernel = kernel
        self._start = start
        self._lines: deque[Line] = deque(maxlen=limit)
        self.told = 0

    def tell(self, text: str, *values: object) -> None:
        """One more line; ``values`` fill the braces of ``text``, and must not change later."""
        self.told += 1
        self._lines.append((self._kernel.now, text, values))

    def clear(self) -> None:
        """What was told so far belongs to the time before the story."""
        self._lines.clear()

    def lines(self) -> Iterator[str]:
        """The lines as people read them."""
        for at, text, values in self._lines:
            yield f"{at - self._start:9.3f}  {text.format(*values) if values else text}"

    def tail(self, count: int) -> list[str]:
        """The last lines."""
        return list(self.lines())[-count:]
