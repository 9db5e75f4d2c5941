"""Fencing: proof that a host has no power, through the fence agents of ClusterLabs run as subprocesses.

``parameters`` reads a host template into a topology, ``request`` writes what an agent is asked, ``agent`` asks it,
``classify`` understands the answer, ``report`` keeps it, ``levels`` walks the topology.

Invariants: nothing but a reading that says off is a success; a time-out is a failure; no secret leaves stdin.
"""

from holdfast.drivers.fence.agent import FenceAgents
from holdfast.drivers.fence.classify import Outcome, PowerState
from holdfast.drivers.fence.levels import fence_host, probe_host
from holdfast.drivers.fence.parameters import BadFenceAttribute, Device, Level, Topology, fence_topology
from holdfast.drivers.fence.report import FenceReport, PowerReading

__all__ = [
    "BadFenceAttribute",
    "Device",
    "FenceAgents",
    "FenceReport",
    "Level",
    "Outcome",
    "PowerReading",
    "PowerState",
    "Topology",
    "fence_host",
    "fence_topology",
    "probe_host",
]
