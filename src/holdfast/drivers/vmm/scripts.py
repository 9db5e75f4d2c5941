"""Hypervisors of the site: any executable ``<remotes>/vmm/<hypervisor>/<action>``, called as OpenNebula calls it.

Exit code 0 is success, and the first word that ``deploy`` prints is the VM's id there.  What scripts cannot say is what
became of an order whose end nobody saw.  Then nothing is concluded: the VM may run on that host.  A site may add a
script ``poll``, which prints ``STATE=a`` (it runs) or ``STATE=d`` (it is not there): after a restart it is asked first.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from holdfast.drivers.vmm.script_calls import Subject
from holdfast.drivers.vmm.script_orders import ScriptFailed, ScriptOrder, Site
from holdfast.engine.ports import Order
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.errors import HoldfastError

_STARTS = (EffectKind.VMM_DEPLOY, EffectKind.VMM_RESTORE)
_ENDS = (EffectKind.VMM_SHUTDOWN, EffectKind.VMM_CANCEL)
_POLL_S = 5.0


class ScriptDriver:
    """The VMM driver for hosts with this hypervisor; ``location``: the datastores as the hosts see them."""

    def __init__(self, site: Site, location: str, clock: Callable[[], float] = time.time) -> None:
        self._site, self._location, self._clock = site, location, clock
        self._begun_before: set[int] = set()

    async def run(self, order: Order) -> Answer:
        """Does it, within the effect's deadline."""
        effect = order.effect
        fresh = effect.oid not in self._begun_before and effect.args.get("AGAIN") != "YES"
        work: ScriptOrder | None = None
        try:
            work = ScriptOrder(self._site, self._subject(order), effect.deadline - self._clock(), fresh)
            return await work.carry_out()
        except HoldfastError as error:
            known = not (work and work.sent) or (isinstance(error, ScriptFailed) and error.known)
            return Answer(ok=False, message=error.message, certain=fresh and known)
        except Exception as error:  # noqa: BLE001 - a driver never raises
            return Answer(ok=False, message=f"{type(error).__name__}: {error}", certain=False)
        finally:
            self._begun_before.discard(effect.oid)

    async def probe(self, order: Order) -> Answer | None:
        """After a restart: the answer if the site's ``poll`` shows it, else None."""
        self._begun_before.add(order.effect.oid)
        kind = order.effect.kind
        if kind not in (*_STARTS, *_ENDS):
            return None
        try:
            subject = self._subject(order)
            state = await ScriptOrder(self._site, subject, _POLL_S, fresh=False).state(subject.host)
        except HoldfastError:
            return None  # the order itself will say what is wrong
        if kind in _STARTS and state == "a":
            return Answer(ok=True, values={"DEPLOY_ID": subject.deploy_id})
        return Answer(ok=True) if kind in _ENDS and state == "d" else None

    def _subject(self, order: Order) -> Subject:
        if order.vm is None or order.host is None:
            raise HoldfastError(
                f"Effect {order.effect.oid} ({order.effect.kind.value}) is no order for a VM on a host."
            )
        site = self._site
        return Subject(
            order, order.vm, order.host, self._location, str(site.vms_path.absolute()) if site.hypervisor.local else ""
        )
