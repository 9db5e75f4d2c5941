"""What this host has and uses, under the names of OpenNebula's host probes: CPU in percent of a core, memory in kB.

With a configured total (hosts that share one machine) usage is the machine's, scaled to that total: free and used
add up to the total, whatever it is.
"""

import os
import platform
import re
from importlib import metadata
from pathlib import Path

from holdfast.agent.config import AgentConfig

_PROC = Path("/proc")
_MODEL = re.compile(r"^(?:model name|Model|cpu model)\s*:\s*(.+)$", re.MULTILINE)


class Capacity:
    """Reads the attributes; CPU usage is the average since the reading before."""

    def __init__(self, config: AgentConfig, proc: Path = _PROC) -> None:
        self._config = config
        self._proc = proc
        self._cores = os.cpu_count() or 1
        self._model = _model_name(proc)
        self._version = _version()
        self._ticks = (0, 0)

    def read(self) -> dict[str, str]:
        """The attributes as they are now."""
        busy = self._busy_share()
        machine_kb, available_kb = self._memory_kb()
        total_cpu = self._config.total_cpu or 100 * self._cores
        total_kb = self._config.total_memory_kb or machine_kb
        used_cpu = round(total_cpu * busy)
        used_kb = total_kb * (machine_kb - available_kb) // machine_kb
        return {
            "HOSTNAME": self._config.name,
            "HYPERVISOR": self._config.hypervisor,
            "ARCH": platform.machine(),
            "MODELNAME": self._model,
            "VERSION": self._version,
            "TOTALCPU": str(total_cpu),
            "USEDCPU": str(used_cpu),
            "FREECPU": str(total_cpu - used_cpu),
            "TOTALMEMORY": str(total_kb),
            "USEDMEMORY": str(used_kb),
            "FREEMEMORY": str(total_kb - used_kb),
        }

    def _busy_share(self) -> float:
        first_line = (self._proc / "stat").read_text(encoding="ascii").partition("\n")[0]
        user, nice, system, idle, waiting, *others = (int(word) for word in first_line.split()[1:9])
        total = user + nice + system + idle + waiting + sum(others)
        before_total, before_idle = self._ticks
        self._ticks = (total, idle + waiting)
        passed = total - before_total
        return min(1.0, max(0.0, 1 - (idle + waiting - before_idle) / passed)) if passed > 0 else 0.0

    def _memory_kb(self) -> tuple[int, int]:
        lines = (self._proc / "meminfo").read_text(encoding="ascii").splitlines()
        values = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
        total_kb = values["MemTotal"]
        return total_kb, min(total_kb, values.get("MemAvailable", values["MemFree"]))


def _model_name(proc: Path) -> str:
    """Read once: on machines with hundreds of cores the file takes milliseconds."""
    found = _MODEL.search((proc / "cpuinfo").read_text(encoding="utf-8", errors="replace"))
    name = found.group(1).strip() if found else platform.machine()
    return "".join(character for character in name if character.isprintable())[:256]


def _version() -> str:
    try:
        return metadata.version("holdfast")
    except metadata.PackageNotFoundError:
        return "copied"  # the agent's folder alone, without a package around it
