"""Chance that belongs to a question, not to an order of questions.

What a driver's third start of VM 7 does must not depend on what others were asked before: else leaving one entry out
of a plan changes everything after it, and no story could be shortened.  So each answer is a hash of the seed and of
the question.
"""

from __future__ import annotations

_MASK = (1 << 64) - 1


def _mix(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


class Chance:
    """Draws by question; the same question asked again is another question."""

    def __init__(self, seed: int) -> None:
        self._seed = _mix(seed & _MASK)
        self._asked: dict[tuple[int, ...], int] = {}

    def draw(self, *question: int) -> float:
        """A number from 0 up to, but not, 1."""
        times = self._asked.get(question, 0)
        self._asked[question] = times + 1
        value = self._seed ^ times
        for part in question:
            value = _mix(value ^ (part & _MASK))
        return (_mix(value) >> 11) / (1 << 53)

    def between(self, low: float, high: float, *question: int) -> float:
        """A number in this range."""
        return low + (high - low) * self.draw(*question)
