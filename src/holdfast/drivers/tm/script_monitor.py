"""How full a system datastore of a driver of the site is: its script ``monitor`` says so.

The script gets the datastore's id, and its XML in base64 on stdin; it prints TOTAL_MB, FREE_MB and USED_MB.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from xml.sax.saxutils import escape

from holdfast.drivers.capacity import Figures
from holdfast.drivers.process import ended_with
from holdfast.drivers.script_files import ScriptFiles
from holdfast.drivers.script_output import script_output
from holdfast.drivers.script_runs import ScriptRuns
from holdfast.engine import tm_conf
from holdfast.model.enums import DatastoreType
from holdfast.model.errors import HoldfastError
from holdfast.model.storage import Datastore

_ACTION = "monitor"
_NAMES = ("TOTAL_MB", "FREE_MB", "USED_MB")
_FIGURE = re.compile(rf"\b({'|'.join(_NAMES)})\s*=\s*\"?(\d+)")


class ScriptMonitor:
    """Asks the scripts; ``datastore_xml`` renders a datastore."""

    def __init__(self, files: ScriptFiles, runs: ScriptRuns, datastore_xml: Callable[[Datastore], str]) -> None:
        self._files, self._runs, self._datastore_xml = files, runs, datastore_xml

    def measures(self, datastore: Datastore) -> bool:
        """Its driver is the site's and has the script."""
        driver = datastore.tm_mad
        if datastore.type is not DatastoreType.SYSTEM_DS or driver in tm_conf.BUILT_IN:
            return False
        return self._files.has_action(driver, _ACTION)

    async def look(self, datastore: Datastore, limit_s: float) -> Figures:
        """The figures; raises HoldfastError when the script gives none."""
        script = self._files.find(datastore.tm_mad, [_ACTION])
        data = _action_data(self._datastore_xml(datastore), datastore.base_path.rstrip("/").rpartition("/")[0])
        stdin = base64.b64encode(data.encode())
        ended = await self._runs.run(_place_of(datastore), (str(script), str(datastore.oid)), limit_s, stdin)
        said = script_output(ended.stderr).error
        if ended.timed_out or ended.code != 0:
            how = "did not end in time" if ended.timed_out else ended_with(ended.code)
            raise HoldfastError(f"{script} {how}{': ' if said else ''}{said}")
        found = {name: int(number) for name, number in _FIGURE.findall(ended.stdout.decode(errors="replace"))}
        if missing := [name for name in _NAMES if name not in found]:
            raise HoldfastError(f"{script} must print {', '.join(_NAMES)}; it lacks {', '.join(missing)}")
        return Figures(found["TOTAL_MB"], found["FREE_MB"], found["USED_MB"])


def _action_data(datastore_xml: str, location: str) -> str:
    where = f"<DATASTORE_LOCATION>{escape(location)}</DATASTORE_LOCATION>"
    asked = f"{where}<MONITOR_VM_DISKS>0</MONITOR_VM_DISKS>"
    return f"<DS_DRIVER_ACTION_DATA>{datastore_xml}{asked}</DS_DRIVER_ACTION_DATA>"


def _place_of(datastore: Datastore) -> int:
    """Scripts about a datastore run one after the other, apart from those about any VM."""
    return -1 - datastore.oid
