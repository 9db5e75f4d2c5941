"""Which guests live on this host, read from /proc: no libvirt needed, so it is still right when libvirtd is dead.

A guest is a process whose program is QEMU and whose `-name` is `one-<id>`.  It is alive while any of its threads
is: after a kill, a thread stuck in an I/O of hung storage can outlive the main thread (which then shows as a
zombie) and may yet write to the disk.  A stopped process is PAUSED; a guest paused inside QEMU cannot be told from
a running one here.

A scan reads one small file per guest and looks at other processes rarely: a new process is looked at at once and
then ever more seldom, because it may become QEMU later (libvirtd forks first, waits for its locks, and only then
executes).  /proc must be that of the host's own PID namespace, and not mounted with hidepid.
"""

import itertools
import os
from dataclasses import dataclass

from holdfast.model.beacon import Vms

_FIRST_GAP_S = 0.2
_LAST_GAP_S = 5.0
_MAX_COMMAND_LINE = 1 << 16
_START_TIME = 19  # of the words after the command in /proc/PID/stat, the first of which is the state
_STOPPED = "Tt"
_GONE = "ZXx"


@dataclass(slots=True)
class _Guest:
    vm_id: int
    start_time: str


@dataclass(slots=True)
class _Other:
    look_at_s: float
    gap_s: float


class GuestScan:
    """Finds the guests again and again, remembering what it has already looked at."""

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc
        self._guests: dict[str, _Guest] = {}
        self._others: dict[str, _Other] = {}

    def scan(self, now_s: float) -> Vms:
        """The guests alive now, sorted by VM id; `now_s` is any clock that only goes forward."""
        pids = {name for name in os.listdir(self._proc) if name.isdigit()}
        for known in (self._guests, self._others):
            for pid in known.keys() - pids:
                del known[pid]
        states = self._known_guest_states()
        for pid in self._due(pids, now_s):
            self._look(pid, now_s, states)
        return tuple(sorted(states.items()))

    def _known_guest_states(self) -> dict[int, str]:
        states: dict[int, str] = {}
        for pid, guest in list(self._guests.items()):
            state, start_time = self._stat(pid)
            if start_time == guest.start_time:
                self._count(guest.vm_id, pid, state, states)
            else:
                del self._guests[pid]
        return states

    def _due(self, pids: set[str], now_s: float) -> list[str]:
        due = [pid for pid, other in self._others.items() if other.look_at_s <= now_s]
        due.extend(pids - self._guests.keys() - self._others.keys())
        return due

    def _look(self, pid: str, now_s: float, states: dict[int, str]) -> None:
        vm_id = vm_of(self._command_line(pid))
        if vm_id is None:
            other = self._others.setdefault(pid, _Other(now_s, _FIRST_GAP_S))
            other.look_at_s = now_s + other.gap_s
            other.gap_s = min(2 * other.gap_s, _LAST_GAP_S)
            return
        self._others.pop(pid, None)
        state, start_time = self._stat(pid)
        if start_time:
            self._guests[pid] = _Guest(vm_id, start_time)
            self._count(vm_id, pid, state, states)

    def _count(self, vm_id: int, pid: str, state: str, states: dict[int, str]) -> None:
        if state in _GONE and len(self._threads(pid)) < 2:
            return
        if states.get(vm_id) != "RUNNING":
            states[vm_id] = "PAUSED" if state in _STOPPED else "RUNNING"

    def _threads(self, pid: str) -> list[str]:
        try:
            return os.listdir(f"{self._proc}/{pid}/task")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return []

    def _stat(self, pid: str) -> tuple[str, str]:
        """State letter and start time; both empty when the process is gone."""
        words = self._read(pid, "stat", 4096).rpartition(b")")[2].split()
        return (words[0].decode(), words[_START_TIME].decode()) if len(words) > _START_TIME else ("", "")

    def _command_line(self, pid: str) -> bytes:
        """Once the main thread has ended, only the remaining threads still show it."""
        line = self._read(pid, "cmdline", _MAX_COMMAND_LINE)
        remaining = [] if line else [thread for thread in self._threads(pid) if thread != pid]
        return self._read(pid, f"task/{remaining[0]}/cmdline", _MAX_COMMAND_LINE) if remaining else line

    def _read(self, pid: str, name: str, limit: int) -> bytes:
        try:
            descriptor = os.open(f"{self._proc}/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return b""
        try:
            return os.read(descriptor, limit)
        except ProcessLookupError:
            return b""
        finally:
            os.close(descriptor)


def vm_of(command_line: bytes) -> int | None:
    """The VM that a process with this command line (words ended by NUL) runs, None if it is no guest of ours."""
    words = command_line.split(b"\0")
    program = words[0].rpartition(b"/")[2]
    if not program.startswith(b"qemu") and program != b"kvm":
        return None
    for option, value in itertools.pairwise(words):
        if option in (b"-name", b"--name"):
            return _vm_named(value)
    return None


def _vm_named(value: bytes) -> int | None:
    first, *rest = value.split(b",")
    names = [first] if b"=" not in first else []
    names += [part.removeprefix(b"guest=") for part in (first, *rest) if part.startswith(b"guest=")]
    if len(names) != 1 or not names[0].startswith(b"one-"):
        return None
    digits = names[0].removeprefix(b"one-")
    return int(digits) if digits.isdigit() and len(digits) < 10 else None
