"""The controller's clock: it may run faster or slower than the world's, and never jumps (as ``serve/clock.py``)."""

from __future__ import annotations

from holdfast.simulation.kernel import Kernel


class DriftingClock:
    """Call it for the controller's time, in epoch seconds."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._base = kernel.now
        self._since = kernel.now
        self.rate = 1.0

    def __call__(self) -> float:
        """Later than at any call before."""
        return self._base + (self._kernel.now - self._since) * self.rate

    def set_rate(self, rate: float) -> None:
        """So many of its seconds pass in one second, from now on."""
        self._base, self._since = self(), self._kernel.now
        self.rate = rate

    def real_s(self, seconds: float) -> float:
        """How long such a time takes in the world."""
        return seconds / self.rate
