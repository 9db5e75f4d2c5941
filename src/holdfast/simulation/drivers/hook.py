"""The failover hook: a process that opens a failover through the API, as ``ft/host_error`` does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.engine import commands as c
from holdfast.model.effect import Answer
from holdfast.model.errors import HoldfastError, StoreError
from holdfast.simulation.drivers.job import Job
from holdfast.simulation.kernel import Promise, Script

if TYPE_CHECKING:
    from holdfast.simulation.shell import Shell

AGAIN_AFTER_S = 2.0
RESERVE_S = 8.0
"""Kept back of the hook's time: what it has to say it must say in time."""


def run_hook(job: Job, shell: Shell) -> Script:
    """Arguments: host, mode and flags; a refusal means that the host came back, trouble of the store is sat out."""
    hid, mode, flags = job.order.effect.args["ARGUMENTS"].split(" ", 2)
    yield job.luck.takes_s(0.1, 0.5, 8.0)
    answer: int | HoldfastError = -1
    while job.left_s > RESERVE_S:
        promise = Promise()
        shell.call(c.AllocateFailover(int(hid), mode, flags), promise.keep)
        yield promise, job.left_s
        answer = promise.value if promise.done else HoldfastError("no answer")
        if not isinstance(answer, StoreError):
            break
        yield AGAIN_AFTER_S
    if isinstance(answer, HoldfastError):
        back = not isinstance(answer, StoreError)
        return Answer(back, answer.message, values={"CODE": "0" if back else "255"})
    return Answer(True, f"failover {answer}", values={"CODE": "0"})
