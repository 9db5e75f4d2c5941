"""Fence devices: reading and cutting a host's power, as ``drivers/fence`` does it.

"Already off" is success, silence is a failure, and a device that says "off" while the host's heartbeat moves on is
contradicted.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.simulation.bmc import Bmc, Mood
from holdfast.simulation.drivers.job import Job
from holdfast.simulation.kernel import Script

DEVICE_LIMIT_S = 30.0
Contradiction = Callable[[int], Script]


def fence(job: Job, contradiction: Contradiction) -> Script:
    """One reading, or the order to cut the power."""
    bmc = job.site.world.bmcs[job.hid]
    mood = bmc.mood_now()
    if mood is Mood.DEAD:
        limit_s = min(DEVICE_LIMIT_S, job.left_s)
        yield limit_s
        return Answer(False, f"The fence device gave no answer within {limit_s:.0f} s.", certain=False)
    is_reading = job.order.effect.kind is EffectKind.FENCE_STATUS
    answer: Answer = (yield from _read(job, bmc, mood)) if is_reading else (yield from _switch_off(job, bmc, mood))
    is_off = answer.ok and (not is_reading or answer.values.get("POWER") == "OFF")
    said = (yield from contradiction(job.hid)) if is_off else ""
    if not said:
        return answer
    text = f"The fence device says that the host is off, but {said}: do not believe this device."
    return Answer(is_reading, text, values={"POWER": "NOT_OFF"})


def _read(job: Job, bmc: Bmc, mood: Mood) -> Script:
    """Two readings must agree."""
    yield 3.0 if mood is Mood.SLOW else 0.2
    first = bmc.reads_off(mood)
    yield 1.5 if mood is Mood.SLOW else 0.2
    if job.left_s <= 0:
        return Answer(False, "The fence device gave no answer in time.", certain=False)
    if mood is Mood.REFUSES:
        return Answer(True, "the device answers with an error", values={"POWER": "NOT_OFF"})
    off = first and bmc.reads_off(mood)
    return Answer(
        True, "power is off, read twice" if off else "power is on", values={"POWER": "OFF" if off else "NOT_OFF"}
    )


def _switch_off(job: Job, bmc: Bmc, mood: Mood) -> Script:
    yield min(job.left_s, job.luck.takes_s(0.5, 4.0, 25.0) + (20.0 if mood is Mood.SLOW else 0.0))
    if job.left_s <= 0:
        return Answer(False, "The fence device gave no answer in time.", certain=False)
    if mood is Mood.REFUSES:
        return Answer(False, "The fence device refuses: the power is still on.")
    if mood is Mood.LIES:
        return Answer(True, "fenced, read back: off")
    if not bmc.machine.powered:
        return Answer(True, "already off, read back: off")
    job.site.world.story.tell("world: host {} is fenced", job.hid)
    bmc.machine.power_off()
    yield 0.3
    return Answer(not bmc.machine.powered, "fenced, read back: off")
