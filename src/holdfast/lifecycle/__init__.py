"""What may happen to one VM: the transition table as data, and the pure function that applies it.

``decide(vm, event, facts) -> Decision`` finds the row of :mod:`.table`, checks its guard (:mod:`.guards`), and applies
its changes (:mod:`.changes`).  No I/O, no clock: time is a fact like any other.
"""

from holdfast.lifecycle.decide import Decision, EffectRequest, Facts, Target, decide
from holdfast.lifecycle.events import VmEvent

__all__ = ["Decision", "EffectRequest", "Facts", "Target", "VmEvent", "decide"]
