"""No start on another host without proof of death, or certain end, of the old one.

Judged by the world (is the old domain really gone?) and by the record: when the domain that ran last was lost with its
host, the start names a proof of that host's death, unless the host's agent has reported another boot since.
"""

from __future__ import annotations

from holdfast.engine.state import State
from holdfast.model.effect import Effect
from holdfast.model.enums import EffectKind, ProofKind
from holdfast.model.failover import Proof
from holdfast.model.vm import Vm
from holdfast.simulation.checkers.violation import Violation
from holdfast.simulation.machine import Domain, End, Life
from holdfast.simulation.world import World

STARTS = (EffectKind.VMM_DEPLOY, EffectKind.VMM_RESTORE)
PROOF = "no start on another host without proof of death of the old one"


STOPS = (EffectKind.VMM_SHUTDOWN, EffectKind.VMM_CANCEL, EffectKind.VMM_CLEANUP, EffectKind.VMM_SAVE)


class Starts:
    """Looks at every order to start a domain when it is committed."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._seen_gone: set[tuple[int, int]] = set()
        """VMs and hosts where a driver has seen that no domain is left."""
        self._proven_at: dict[int, float] = {}
        self._ran_on: dict[int, int] = {}
        """Where a VM's domain ran last."""
        world.watchers.append(self._changed)

    def _changed(self, domain: Domain, why: End | None) -> None:
        if why is None and domain.life is Life.RUNNING:
            self._ran_on[domain.vm_id] = domain.hid

    def answered_well(self, effect: Effect) -> None:
        """A driver has done what it was told."""
        if effect.kind in (*STOPS, EffectKind.VMM_MIGRATE):
            self._seen_gone.add((effect.subject, effect.host_id))

    def ordered(self, state: State, effect: Effect) -> None:
        """A start was stored, and goes out now."""
        if effect.kind not in STARTS:
            return
        self._seen_gone.discard((effect.subject, effect.host_id))
        for domain in self._world.domains_of(effect.subject):
            if domain.hid != effect.host_id and domain.life not in (Life.INCOMING, Life.ARRIVED):
                raise Violation(
                    PROOF,
                    f"VM {effect.subject} is to start on host {effect.host_id}, "
                    f"its domain on host {domain.hid} is {domain.life.value}",
                )
        vm = state.vms.get(effect.subject)
        if vm is not None:
            self._check_record(state, effect, vm)

    def _check_record(self, state: State, effect: Effect, vm: Vm) -> None:
        old = self._ran_on.get(vm.oid, effect.host_id)
        if old == effect.host_id:
            return
        machine = self._world.machines[old]
        if vm.oid not in machine.ended or (vm.oid, old) in self._seen_gone:
            return
        why, boot_id, ended_at = machine.ended[vm.oid]
        host = state.hosts.get(old)
        if why is not End.POWER or (host is not None and host.boot_id != boot_id):
            return
        left = next((record.hid for record in reversed(vm.history) if record.hid != effect.host_id), old)
        named = {effect.proof_id, *(record.proof_id for record in vm.history)}
        if left != old:  # by an operator's wrong word the records say nothing of where it ran: the proof is there
            named |= state.proofs.keys()
        proofs = [state.proofs[oid] for oid in named if oid in state.proofs]
        if not any(self._covers(proof, old, boot_id, ended_at) for proof in proofs):
            raise Violation(
                PROOF,
                f"VM {vm.oid} is to start on host {effect.host_id}; it was lost with host {old}, and neither the start "
                f"nor a record since then names a proof of that (they name {sorted(named)})",
            )

    def _covers(self, proof: Proof, hid: int, boot_id: str, ended_at: float) -> bool:
        """A reboot ends one boot; a host that is off when the proof is accepted has no boot at all."""
        if proof.kind is ProofKind.REBOOTED:
            return proof.host_id == hid and proof.boot_id in ("", boot_id)
        return proof.host_id == hid and self._proven_at.get(proof.oid, ended_at) >= ended_at

    def proven(self, proof: Proof) -> None:
        """A proof was accepted."""
        self._proven_at.setdefault(proof.oid, self._world.kernel.now)
