"""One order for a hypervisor of the site: which scripts it takes, in which order, and what their ends mean.

A script that ran to its end is believed.  A start that failed is followed by ``cancel``, so that nothing of it is left;
one that is repeated is preceded by it, for the attempt before may have succeeded unseen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from holdfast.drivers.process import Completed, ending
from holdfast.drivers.script_output import code_for_log, script_output
from holdfast.drivers.tm.driver import TmDriver, VmLog
from holdfast.drivers.tm.lines import Step
from holdfast.drivers.vm_files import write_vm_file
from holdfast.drivers.vmm.deployment import deployment_file
from holdfast.drivers.vmm.hypervisor import HypervisorConfig
from holdfast.drivers.vmm.script_calls import Call, Subject, action_data, call_of, cancel
from holdfast.drivers.vmm.script_places import Place
from holdfast.drivers.vmm.site_hypervisor import SiteHypervisor
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.errors import HoldfastError
from holdfast.model.free_text import printable, shortened
from holdfast.model.host import Host
from holdfast.model.storage import Datastore
from holdfast.model.vm import Vm

ABSENT = {"ABSENT": "YES"}
"""Tells the engine that the hypervisor has nothing of the VM, so that an earlier start is settled too."""

_ID_LIMIT = 256
_ACCELERATORS = {"kvm": "kvm", "qemu": "tcg"}


class ScriptFailed(HoldfastError):
    """A script failed; ``known``: it ran to its end and said so itself."""

    def __init__(self, message: str, known: bool) -> None:
        super().__init__(message)
        self.known = known


@dataclass(frozen=True, slots=True)
class Site:
    """What every order needs; the first two callables give XML."""

    hypervisor: SiteHypervisor
    place: Place
    vms_path: Path
    vm_xml: Callable[[Vm], str]
    datastore_xml: Callable[[Datastore], str]
    tm: TmDriver
    log: VmLog


class ScriptOrder:
    """An order under way; ``fresh``: it was never begun before."""

    def __init__(self, site: Site, subject: Subject, limit_s: float, fresh: bool) -> None:
        self._site, self._subject, self._fresh = site, subject, fresh
        self._until = asyncio.get_running_loop().time() + limit_s
        self.sent = False
        """The script that the order is about was begun."""

    async def carry_out(self) -> Answer:
        """What came of it; raises ScriptFailed, or what kept a script from being begun."""
        work = {
            EffectKind.VMM_DEPLOY: self._deploy,
            EffectKind.VMM_RESTORE: self._restore,
            EffectKind.VMM_MIGRATE: self._migrate,
            EffectKind.VMM_CLEANUP: self._clean_up,
            EffectKind.VMM_ATTACH_DISK: self._attach_disk,
            EffectKind.VMM_DETACH_DISK: self._detach_disk,
            EffectKind.VMM_SNAPSHOT_CREATE: self._snapshot,
        }.get(self._subject.kind, self._plain)
        return await work()

    async def state(self, host: Host) -> str:
        """What the site's script ``poll`` prints behind ``STATE=``; empty when there is none, or it cannot tell."""
        call = Call("poll", (self._subject.deploy_id, host.name))
        try:
            ended = await self._run(call, "", host)
        except HoldfastError:
            return ""
        words = ended.stdout.decode(errors="replace").split() if ended.code == 0 else []
        return next((word.removeprefix("STATE=") for word in words if word.startswith("STATE=")), "")

    async def _plain(self) -> Answer:
        data = self._data()
        await self._script(call_of(self._subject, data), data)
        return Answer(ok=True)

    async def _deploy(self) -> Answer:
        text = self._deployment()
        if not self._fresh:
            await self._script(cancel(self._subject), self._data())
        await self._come_home()
        await self._prepare(text)
        await self._make_context()
        try:
            said = await self._script(call_of(self._subject, ""), text)
            if not said:
                raise ScriptFailed("Empty deploy ID for virtual machine", known=True)
        except ScriptFailed as error:
            return await self._undo_start(error)
        if wrong := _what_is_wrong_with(said[0]):
            return await self._undo_unnamed(f"deploy: the first word that it printed cannot be the VM's id: {wrong}")
        return Answer(ok=True, values={"DEPLOY_ID": said[0]})

    async def _restore(self) -> Answer:
        data = self._data()
        await self._come_home()
        await self._make_context()
        try:
            await self._script(call_of(self._subject, data), data)
        except ScriptFailed as error:
            if not self._fresh:
                raise  # it may be the repetition that failed, because the VM runs: its memory must not be lost
            return await self._undo_start(error)
        return Answer(ok=True, values={"DEPLOY_ID": self._subject.deploy_id})

    async def _come_home(self) -> None:
        """Before a start, its disks are where it starts; raises HoldfastError."""
        found = await self._site.tm.come_home(self._subject.vm, self._left_s)
        if not found.ok:
            raise HoldfastError(found.message)

    async def _make_context(self) -> None:
        """The VM's CD-ROM is made anew before each start; raises HoldfastError."""
        subject = self._subject
        if subject.vm.template.section("CONTEXT"):
            made = await self._site.tm.make_context(subject.vm, self._left_s, subject.order.datastores)
            if not made.ok:
                raise HoldfastError(f"CONTEXT: {made.message}")

    async def _undo_start(self, error: ScriptFailed) -> Answer:
        """Nothing of it may be left; of a start whose end nobody saw, something may still come."""
        if not error.known:
            raise error
        try:
            await self._script(cancel(self._subject), self._data())
        except HoldfastError as trouble:
            message = f"{error.message}; what is left of it could not be ended: {trouble.message}"
            return Answer(ok=False, certain=False, message=message)
        return Answer(ok=False, message=error.message, values=ABSENT)

    async def _undo_unnamed(self, message: str) -> Answer:
        """The script says that the VM runs, but not as what: it is ended by our name, and may still be there."""
        try:
            await self._script(cancel(self._subject), self._data())
        except HoldfastError as trouble:
            message = f"{message}; it could not be ended: {trouble.message}"
        return Answer(ok=False, certain=False, message=message)

    async def _migrate(self) -> Answer:
        subject, other, data = self._subject, self._subject.order.other, self._data()
        call = call_of(subject, data)
        moved = Answer(ok=True, values={"DEPLOY_ID": subject.deploy_id})
        if not self._fresh and other and await self.state(other) == "a" and await self.state(subject.host) == "d":
            return moved
        try:
            await self._script(call, data)
        except ScriptFailed as error:
            if self._fresh:
                raise
            hint = "an attempt before may have moved it: see where it runs, then onevm recover --success or --failure"
            raise ScriptFailed(f"{error.message}; {hint}", known=False) from None
        return moved

    async def _clean_up(self) -> Answer:
        hosts = [host for host in (self._subject.host, self._subject.order.other) if host is not None]
        troubles = []
        for host in hosts:
            try:
                await self._script(Call("cancel", (self._subject.deploy_id, host.name)), self._data(), host)
            except HoldfastError as error:
                troubles.append(f"{host.name}: {error.message}")
        return Answer(ok=not troubles, message="; ".join(troubles), certain=not troubles)

    async def _attach_disk(self) -> Answer:
        data = self._data()
        call = call_of(self._subject, data)
        made = await self._transfer(Step.PROLOG_ATTACH)
        if not made.ok:
            return made
        try:
            await self._script(call, data)
        except ScriptFailed as error:
            if not (error.known and self._fresh):
                raise
            undone = await self._transfer(Step.EPILOG_DETACH)
            left = "" if undone.ok else f"; its file is left over: {undone.message}"
            return Answer(ok=False, message=f"{error.message}{left}")
        return Answer(ok=True)

    async def _detach_disk(self) -> Answer:
        await self._plain()
        return await self._transfer(Step.EPILOG_DETACH)

    async def _snapshot(self) -> Answer:
        data = self._data()
        said = await self._script(call_of(self._subject, data), data)
        name = said[0] if said else f"snap-{self._subject.item}"
        if wrong := _what_is_wrong_with(name):
            message = f"snapshot_create: the first word that it printed cannot be the snapshot's name: {wrong}"
            raise ScriptFailed(message, known=True)
        return Answer(ok=True, values={"HYPERVISOR_ID": name})

    async def _transfer(self, step: Step) -> Answer:
        subject = self._subject
        return await self._site.tm.run_step(subject.vm, step, self._left_s, int(subject.item), subject.order.datastores)

    async def _prepare(self, text: str) -> None:
        """The files of the VM that OpenNebula writes before a deployment."""
        subject, vm_id = self._subject, self._subject.vm.oid
        await write_vm_file(self._site.vms_path, vm_id, subject.deployment_name, text, self._left_s)
        await self._program(("/bin/mkdir", "-p", subject.directory), "")
        await self._program(("/bin/dd", f"of={subject.directory}/vm.xml", "status=none"), self._site.vm_xml(subject.vm))
        datastore = self._site.datastore_xml(subject.datastore)
        await self._program(("/bin/dd", f"of={subject.directory}/ds.xml", "status=none"), datastore)

    def _deployment(self) -> str:
        subject, kind = self._subject, self._site.hypervisor.type
        if kind == "xml":
            return self._site.vm_xml(subject.vm)
        config = HypervisorConfig(subject.location, _ACCELERATORS[kind])
        return deployment_file(subject.vm, subject.host, subject.datastore, config)

    def _data(self) -> str:
        return action_data(self._subject, self._site.vm_xml, self._site.datastore_xml(self._subject.datastore))

    async def _script(self, call: Call, stdin: str, host: Host | None = None) -> list[str]:
        """The words that it printed; raises ScriptFailed."""
        self.sent = True
        ended = await self._run(call, stdin, host or self._subject.host)
        self._conclude(call.action, ended)
        return ended.stdout.decode(errors="replace").split()

    async def _run(self, call: Call, stdin: str, host: Host) -> Completed:
        vm_id = self._subject.vm.oid
        words = (*call.words, str(vm_id), host.name)
        return await self._site.place.script(vm_id, host.name, call.action, words, stdin, self._left_s)

    async def _program(self, words: tuple[str, ...], stdin: str) -> None:
        host = self._subject.host
        ended = await self._site.place.program(self._subject.vm.oid, host.name, words, stdin, self._left_s)
        self._conclude(words[0], ended)

    def _conclude(self, action: str, ended: Completed) -> None:
        """Tells the VM's log; raises ScriptFailed unless it succeeded."""
        vm_id, log = self._subject.vm.oid, self._site.log
        output, lost = script_output(ended.stderr, vm_id), self._site.place.is_lost(ended)
        failed = lost or ended.code != 0
        if failed:
            log(vm_id, "I", f"Command execution fail ({code_for_log(ended.code)}): {action}")
        for line in output.lines:
            if failed or line.tagged:
                log(vm_id, line.severity, line.text)
        verb = "Failed to" if failed else "Successfully"
        log(vm_id, "I", f"{verb} execute virtualization driver operation: {action}.")
        if lost:
            seen = f"{action}: nobody saw its end after {ended.took_s:.1f} s"
            raise ScriptFailed(f"{seen}: {output.error}" if output.error else seen, known=False)
        if failed:
            raise ScriptFailed(f"{action}: {output.error or f'{ending(ended.code)}, without a reason'}", known=True)

    @property
    def _left_s(self) -> float:
        return max(0.0, self._until - asyncio.get_running_loop().time())


def _what_is_wrong_with(word: str) -> str:
    """Why a hypervisor's id cannot be kept, shown and given to scripts; empty when it can."""
    shown = shortened(printable(word), 80)
    if len(word) > _ID_LIMIT:
        return f"{shown} is longer than {_ID_LIMIT} characters"
    if not word.isprintable() or "\ufffd" in word:
        return f"{shown} holds characters that cannot be printed"
    return f"{shown} begins with - and would be taken for an option" if word.startswith("-") else ""
