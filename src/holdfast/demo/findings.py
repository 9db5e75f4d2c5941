"""What an act found: times per VM in seconds since the loss, the ledgers, and whether it was all as promised."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from holdfast.sandbox.ledger import Ledger

STEPS = ("detected", "proof", "placed", "booted", "writing")
"""Steps of a VM on its way back, in the order they must happen."""


@dataclass
class VmFindings:
    """One VM of the lost host; a step that was not seen is None."""

    name: str
    vm_id: int
    from_host: str
    to_host: str = ""
    steps: dict[str, float | None] = field(default_factory=lambda: dict.fromkeys(STEPS))

    def note(self, step: str, seconds: float | None) -> bool:
        """Takes the time of a step down, the first time it is seen; says whether it is news."""
        if seconds is None or self.steps[step] is not None:
            return False
        self.steps[step] = round(seconds, 3)
        return True

    @property
    def complaints(self) -> list[str]:
        """What is missing or out of order."""
        missing = [step for step in STEPS if self.steps[step] is None]
        if missing:
            return [f"{self.name}: never {', '.join(missing)}"]
        times = [self.steps[step] or 0.0 for step in ("detected", "proof", "placed", "booted")]
        if times != sorted(times):
            return [f"{self.name}: steps out of order {times}"]
        return []


@dataclass
class ActFindings:
    """One act."""

    name: str
    storage: str
    lost_host: str = ""
    lost_at: float = 0.0
    failover_state: str = ""
    proof: str = ""
    proof_raw: str = ""
    vms: list[VmFindings] = field(default_factory=list)
    ledgers: dict[str, Ledger] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def complaints(self) -> list[str]:
        """Everything that is not as promised."""
        found = [*self.problems, *(line for vm in self.vms for line in vm.complaints)]
        if not self.vms:
            found.append("no VM was lost: nothing was shown")
        found.extend(f"ledger of {name} is not clean" for name, ledger in self.ledgers.items() if not ledger.ok)
        if not self.ledgers:
            found.append("no ledger was checked")
        return found

    @property
    def ok(self) -> bool:
        """Everything as promised."""
        return not self.complaints

    def seconds_of(self, step: str) -> list[float]:
        """The times of a step, of the VMs that reached it."""
        return [value for vm in self.vms if (value := vm.steps[step]) is not None]

    def as_json(self) -> dict[str, Any]:
        """For the report file."""
        return {
            "name": self.name,
            "storage": self.storage,
            "lost_host": self.lost_host,
            "lost_at": self.lost_at,
            "failover": self.failover_state,
            "proof": self.proof,
            "vms": {
                vm.name: {"id": vm.vm_id, "from": vm.from_host, "to": vm.to_host, "lost": 0.0, **vm.steps}
                for vm in self.vms
            },
            "ledger": {name: _ledger_json(ledger) for name, ledger in self.ledgers.items()},
            "complaints": self.complaints,
            "ok": self.ok,
        }


def _ledger_json(ledger: Ledger) -> dict[str, Any]:
    return {"ok": ledger.ok, "acknowledged": ledger.acknowledged, **asdict(ledger)}
