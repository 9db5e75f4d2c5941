"""The controller's clock follows the wall clock without ever jumping with it."""

from __future__ import annotations

import pytest

from holdfast.serve.clock import SLEW, SteadyClock


class Clocks:
    """A wall clock and a monotonic clock that the test moves."""

    def __init__(self) -> None:
        self.wall = 1_000_000.0
        self.monotonic = 50.0
        self.clock = SteadyClock(lambda: self.wall, lambda: self.monotonic)

    def pass_time(self, seconds: float, wall_jump_s: float = 0.0) -> float:
        """Time passes, and the wall clock is set meanwhile; what the steady clock says."""
        self.monotonic += seconds
        self.wall += seconds + wall_jump_s
        return self.clock()


def test_it_starts_with_the_wall_clock_and_runs_with_it() -> None:
    clocks = Clocks()
    assert clocks.pass_time(0) == 1_000_000.0
    assert clocks.pass_time(10) == pytest.approx(1_000_010.0)


@pytest.mark.parametrize("jump_s", [-3600.0, 3600.0])
def test_a_wall_clock_that_is_set_is_followed_slowly_and_reached_in_the_end(jump_s: float) -> None:
    clocks = Clocks()
    before = clocks.pass_time(0)
    for _ in range(10):
        after = clocks.pass_time(1, jump_s)
        jump_s = 0.0
        assert 1 - SLEW <= after - before <= 1 + SLEW + 1e-9
        before = after
    for _ in range(2):
        clocks.pass_time(36_000)
    assert clocks.clock() == pytest.approx(clocks.wall)


def test_it_never_goes_back_however_often_it_is_asked() -> None:
    clocks = Clocks()
    clocks.pass_time(1, -3600)
    times = [clocks.pass_time(0) for _ in range(5)] + [clocks.pass_time(0.001) for _ in range(5)]
    assert times == sorted(times)
