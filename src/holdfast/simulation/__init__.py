"""The production engine on virtual time: simulated hosts, disks, BMCs, links and clocks, faults, and checkers.

One run is told by a :mod:`.plan` drawn from its seed: timed faults and operators' actions, which can be reduced to the
shortest story that still fails (:mod:`.shrink`).  :mod:`.kernel` holds the clock, :mod:`.world` what is really there,
:mod:`.shell` what ``holdfast serve`` does around the engine, :mod:`.checkers` what must hold after every event.

Nothing here knows wall-clock time or a random number that does not come from the seed.
"""
