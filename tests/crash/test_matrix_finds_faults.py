"""The matrix is no good unless it fails: controllers with a fault that only a kill brings to light are found out."""

from __future__ import annotations

import pytest

from tests.crash.conftest import Pool
from tests.crash.controller import CREDULOUS, FORGETFUL
from tests.crash.matrix import run_faulty
from tests.crash.points import COMMITTED, DONE

LIMIT_S = 300.0
BEFORE_DEPLOY = f"vmm.deploy 1 of 0: {COMMITTED}"
AFTER_DEPLOY = f"vmm.deploy 1 of 0: {DONE}"


@pytest.mark.parametrize("fault", [CREDULOUS, FORGETFUL])
def test_a_controller_that_does_not_take_up_what_was_under_way_is_found_out(fault: str, pool: Pool) -> None:
    outcome = pool.submit(run_faulty, "deploy", pool.directory, fault, [BEFORE_DEPLOY]).result(LIMIT_S)
    assert list(outcome.failures) == [BEFORE_DEPLOY]


def test_nothing_is_found_where_the_fault_makes_no_difference(pool: Pool) -> None:
    outcome = pool.submit(run_faulty, "deploy", pool.directory, CREDULOUS, [AFTER_DEPLOY]).result(LIMIT_S)
    assert outcome.failures == {}
