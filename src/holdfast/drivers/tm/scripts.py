"""Transfer drivers of the site: any executable ``<remotes>/tm/<driver>/<action>``, called as OpenNebula calls it.

The action in lower case is the script's name, the line's arguments are its own, exit code 0 is success.  Stdin is
empty, but for the actions around a live migration, which get the VM's XML in base64.  An action with a suffix
(``CLONE.ssh``) falls back to the one without.  What the script says on stderr goes to the VM's log and becomes the
error: :mod:`holdfast.drivers.script_output`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

from holdfast.drivers.process import Completed, ended_with
from holdfast.drivers.script_files import ScriptFiles
from holdfast.drivers.script_output import ScriptOutput, code_for_log, script_output
from holdfast.drivers.script_runs import OUTPUT_LIMIT, ScriptOverdue, ScriptRuns
from holdfast.drivers.tm.account import Account
from holdfast.drivers.tm.lines import Line, TransferError
from holdfast.drivers.tm.tools import Clockwork, TransferOverdue
from holdfast.model.vm import Vm

_ABOUT_MIGRATIONS = ("premigrate", "postmigrate", "failmigrate")


class SiteTransfers:
    """Finds the site's drivers by name, as the registry's ``external``; ``describe`` gives a VM's XML."""

    def __init__(self, files: ScriptFiles, runs: ScriptRuns, describe: Callable[[Vm], str]) -> None:
        self._files = files
        self._runs = runs
        self._describe = describe

    def __call__(self, name: str) -> ScriptTransfers | None:
        """The driver, None when the site has none of this name."""
        return ScriptTransfers(name, self._files, self._runs, self._describe) if self._files.has(name) else None


class ScriptTransfers:
    """One driver of the site; raises TransferError."""

    def __init__(self, name: str, files: ScriptFiles, runs: ScriptRuns, describe: Callable[[Vm], str]) -> None:
        self._name = name
        self._files = files
        self._runs = runs
        self._describe = describe

    async def perform(self, line: Line, vm: Vm, clockwork: Clockwork) -> None:
        """One line for one VM."""
        script = await clockwork.touch(lambda: self._files.find(self._name, _names(line.action)), "looking for it")
        stdin = base64.b64encode(self._describe(vm).encode()) if script.name in _ABOUT_MIGRATIONS else b""
        try:
            ended = await self._runs.run(vm.oid, (str(script), *line.arguments), clockwork.left_s, stdin)
        except ScriptOverdue as error:
            raise TransferOverdue(error.message) from None
        conclude(ended, vm.oid, clockwork.account)


def conclude(ended: Completed, vm_id: int, account: Account) -> None:
    """Tells the log what the script said; raises what it came to, unless that is success."""
    output = script_output(ended.stderr, vm_id)
    command = " ".join(ended.argv)
    if ended.code == 0 and not ended.timed_out:
        _log(output, account, tagged_only=True)
        return
    if ended.timed_out:
        account.log("I", f"Command execution timed out after {ended.took_s:.1f} s: {command}")
    else:
        account.log("I", f"Command execution failed ({code_for_log(ended.code)}): {command}")
    _log(output, account, tagged_only=False)
    if ended.truncated:
        account.log("W", f"of its output, only the first and the last {OUTPUT_LIMIT} bytes were read")
    if ended.timed_out:
        last = f"; it said: {output.error}" if output.error else ""
        raise TransferOverdue(f"{ended.argv[0]} was stopped after {ended.took_s:.1f} s: the time was up{last}")
    raise TransferError(output.error or f"{ended.argv[0]} {ended_with(ended.code)} and gave no reason")


def _log(output: ScriptOutput, account: Account, tagged_only: bool) -> None:
    for line in output.lines:
        if line.tagged or not tagged_only:
            account.log(line.severity, line.text)


def _names(action: str) -> tuple[str, ...]:
    """The names that the script of an action may have, the most special first."""
    name = action.lower()
    plain = name.rpartition(".")[0]
    return (name, plain) if plain else (name,)
