"""Everything that was rendered, by kind: what the reading methods answer from."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.api.ports import Controller
from holdfast.api.views import failover, hook, host, storage, vm
from holdfast.api.views.fragments import Fragments
from holdfast.api.views.markup import embedded
from holdfast.model.failover import Failover, Proof
from holdfast.model.host import Host
from holdfast.model.storage import Datastore, Image
from holdfast.model.vm import Vm


class Views:
    """The fragments of one controller's objects."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self.vms = Fragments(self._vm, lambda: controller.state.vms)
        self.short_vms = Fragments(self._short_vm, lambda: controller.state.vms)
        self.vm_records = Fragments(vm.monitoring, lambda: controller.state.vms)
        self.hosts = Fragments(host.full, lambda: controller.state.hosts)
        self.host_records = Fragments(host.monitoring, lambda: controller.state.hosts)
        self.datastores = Fragments(self._datastore, lambda: controller.state.datastores)
        self.images = Fragments(self._image, lambda: controller.state.images)
        self.hooks = Fragments(hook.short, lambda: controller.state.hooks)
        self._several_records = Fragments(self._extended_vm, lambda: controller.state.vms)
        self._finished = Fragments(self._failover, lambda: controller.state.failovers)

    def vm(self, stored: Vm) -> bytes:
        """One VM, with its transfer while one runs, as far as it is now."""
        return vm.with_transfer(self.vms.one(stored), self._controller.transfers.progress_of(stored.oid))

    def image(self, stored: Image) -> bytes:
        """One image, with its import while one runs, as far as it is now."""
        return storage.with_import(self.images.one(stored), self._controller.imports.progress_of(stored.oid))

    def host(self, stored: Host) -> bytes:
        """One host as it was last heard: beacons are not stored, so the time is put into what is kept."""
        return host.with_time(self.hosts.one(stored), stored.last_seen, self._heard(stored))

    def host_record(self, stored: Host) -> bytes:
        """Its monitoring record, likewise."""
        return host.with_time(self.host_records.one(stored), stored.last_seen, self._heard(stored))

    def _heard(self, stored: Host) -> int:
        return int(self._controller.heard_at(stored.oid))

    async def extended_vms(self, vms: Sequence[Vm]) -> list[bytes]:
        """Full bodies with the newest history record only; the same fragments as ``vms`` where that is all there is."""
        plain = iter(await self.vms.many(vm for vm in vms if len(vm.history) < 2))
        cut = iter(await self._several_records.many(vm for vm in vms if len(vm.history) > 1))
        return [next(plain if len(vm.history) < 2 else cut) for vm in vms]

    async def failovers(self, failovers: Sequence[Failover]) -> list[bytes]:
        """The failovers; what is still open speaks of hosts that change, so only finished ones are kept."""
        finished = iter(await self._finished.many(stored for stored in failovers if not stored.is_open))
        return [self.failover(stored) if stored.is_open else next(finished) for stored in failovers]

    def failover(self, stored: Failover) -> bytes:
        """One failover."""
        return embedded(self._failover(stored)) if stored.is_open else self._finished.one(stored)

    def _vm(self, stored: Vm) -> str:
        return vm.full(stored, self._controller.state.users)

    def _short_vm(self, stored: Vm) -> str:
        return vm.short(stored, self._controller.state.users)

    def _extended_vm(self, stored: Vm) -> str:
        return vm.extended(stored, self._controller.state.users)

    def _datastore(self, stored: Datastore) -> str:
        return storage.datastore(stored, self._controller.state.users)

    def _image(self, stored: Image) -> str:
        return storage.image(stored, self._controller.state.users)

    def _failover(self, stored: Failover) -> str:
        state = self._controller.state
        found = {proof.oid: proof for proof in state.matching(Proof, stored.oid)}
        if stored.proof_id in state.proofs:
            found[stored.proof_id] = state.proofs[stored.proof_id]
        return failover.full(stored, failover.proofs_of(stored, found.values()), state.hosts)
