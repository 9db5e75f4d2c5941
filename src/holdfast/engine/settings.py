"""What the engine must be told about its installation; everything has a sensible value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo

from holdfast.engine.tm_conf import TmConf
from holdfast.failover.detection import Patience
from holdfast.lifecycle.deadlines import DEADLINE_S
from holdfast.model.enums import EffectKind


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the engine; paths are only written into objects, never opened here."""

    datastores_path: str = "/var/lib/one/datastores"
    installation: str = "holdfast"
    """Distinguishes installations: VM UUIDs are derived from it."""
    patience: Patience = field(default_factory=Patience)
    unseen_hypervisors: frozenset[str] = frozenset()
    """Whose guests no agent can see, by VM_MAD: that one is not reported says nothing about it."""
    deadlines_s: Mapping[EffectKind, float] = field(default_factory=lambda: dict(DEADLINE_S))
    power_reading_every_s: float = 2.0
    live_rescheds: bool = False
    """Whether a rescheduled VM that runs is migrated live."""
    cold_migrate_mode: int = 0
    """How it is migrated otherwise: 0 save, 1 poweroff, 2 poweroff-hard."""
    time_zone: tzinfo | None = UTC
    """In which ERROR attributes are dated; None is that of this machine."""
    expiry_grace_s: float = 2.0
    """Drivers keep the deadline themselves; the engine gives up on them a little later."""
    datastore_capacity_check: bool = True
    """Whether a datastore that does not say so itself refuses what it has no room for."""
    repair_lapse_s: float = 15.0
    """Whoever repairs a transfer and is silent for so long has vanished: others may go on."""
    tm_conf: TmConf = field(default_factory=TmConf)
