"""Finding guests in /proc: real processes, and a made-up /proc for what cannot be made to happen."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.agent.domains import GuestScan, vm_of

StartGuest = Callable[..., subprocess.Popen[bytes]]
Until = Callable[[Callable[[], bool]], None]

ENDS_ITS_MAIN_THREAD = """
import ctypes, platform, sys, threading
threading.Thread(target=sys.stdin.readline).start()
ctypes.CDLL(None).syscall({"x86_64": 60}.get(platform.machine(), 93), 0)
"""
BECOMES_A_GUEST = """
import os, sys
sys.stdin.readline()
os.execv("/bin/sh", ["qemu-system-x86_64", "-c", "read line", "-name", "guest=one-" + sys.argv[1]])
"""


class Clock:
    """Scans as if a second passed between two scans."""

    def __init__(self, proc: str = "/proc") -> None:
        self.scan_of = GuestScan(proc)
        self.now_s = 0.0

    def state(self, vm_id: int, after_s: float = 1.0) -> str | None:
        self.now_s += after_s
        return dict(self.scan_of.scan(self.now_s)).get(vm_id)


def fake_process(proc: Path, pid: int, words: list[str], state: str = "S", start_time: int = 100) -> None:
    folder = proc / str(pid)
    (folder / "task" / str(pid)).mkdir(parents=True, exist_ok=True)
    (folder / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in words))
    fields = [state, *["0"] * 18, str(start_time), *["0"] * 20]
    (folder / "stat").write_text(f"{pid} (a ) b) {' '.join(fields)}\n")


def guest_words(vm_id: int) -> list[str]:
    return ["/usr/bin/qemu-system-x86_64", "-name", f"guest=one-{vm_id},debug-threads=on", "-S"]


def test_a_guest_is_seen_from_its_start_to_its_end(start_guest: StartGuest, vm_id: int, until: Until) -> None:
    clock = Clock()
    assert clock.state(vm_id) is None
    guest = start_guest(vm_id)
    until(lambda: clock.state(vm_id) == "RUNNING")
    assert clock.state(vm_id) == "RUNNING"
    guest.kill()
    guest.wait(5)
    assert clock.state(vm_id) is None


def test_a_stopped_guest_is_paused(start_guest: StartGuest, vm_id: int, until: Until) -> None:
    guest, clock = start_guest(vm_id), Clock()
    guest.send_signal(signal.SIGSTOP)
    until(lambda: clock.state(vm_id) == "PAUSED")
    guest.send_signal(signal.SIGCONT)
    until(lambda: clock.state(vm_id) == "RUNNING")


def test_a_zombie_is_not_alive(start_guest: StartGuest, vm_id: int, until: Until) -> None:
    guest, clock = start_guest(vm_id), Clock()
    until(lambda: clock.state(vm_id) == "RUNNING")
    guest.kill()
    until(lambda: clock.state(vm_id) is None)
    assert os.path.exists(f"/proc/{guest.pid}"), "nobody has waited for it, so it is still there"


def test_a_guest_whose_main_thread_has_ended_is_alive_while_another_thread_is(vm_id: int, until: Until) -> None:
    words = ["qemu-system-x86_64", "-c", ENDS_ITS_MAIN_THREAD, "-name", f"guest=one-{vm_id}"]
    environment = os.environ | {"PYTHONHOME": sys.base_prefix}
    guest = subprocess.Popen(words, executable=sys.executable, stdin=subprocess.PIPE, env=environment)
    clock = Clock()
    try:
        until(lambda: ") Z" in Path(f"/proc/{guest.pid}/stat").read_text())
        assert clock.state(vm_id) == "RUNNING", "also for an agent that starts only now"
        assert clock.state(vm_id) == "RUNNING"
    finally:
        guest.kill()
        guest.communicate()
    assert clock.state(vm_id) is None


def test_a_process_that_becomes_a_guest_later_is_found(vm_id: int, until: Until) -> None:
    words = [sys.executable, "-c", BECOMES_A_GUEST, str(vm_id)]
    process, clock = subprocess.Popen(words, stdin=subprocess.PIPE), Clock()
    try:
        assert clock.state(vm_id) is None
        assert process.stdin is not None
        process.stdin.write(b"now\n")
        process.stdin.flush()
        until(lambda: clock.state(vm_id) == "RUNNING")
    finally:
        process.kill()
        process.communicate()


def test_other_processes_are_looked_at_ever_more_rarely_but_never_given_up(tmp_path: Path) -> None:
    fake_process(tmp_path, 10, ["/usr/sbin/libvirtd"])
    clock = Clock(str(tmp_path))
    for _ in range(20):
        assert clock.state(7) is None
    fake_process(tmp_path, 10, guest_words(7))
    looks = [clock.state(7, after_s=0.2) for _ in range(30)]
    assert looks[0] is None, "each process must not be read in each scan"
    assert looks[-1] == "RUNNING"


def test_a_process_number_used_again_is_not_the_old_guest(tmp_path: Path) -> None:
    fake_process(tmp_path, 10, guest_words(7), start_time=100)
    clock = Clock(str(tmp_path))
    assert clock.state(7) == "RUNNING"
    fake_process(tmp_path, 10, guest_words(8), start_time=200)
    clock.now_s += 1
    assert clock.scan_of.scan(clock.now_s) == ((8, "RUNNING"),)


def test_a_vm_with_a_stopped_and_a_running_process_is_running(tmp_path: Path) -> None:
    fake_process(tmp_path, 10, guest_words(7), state="R")
    fake_process(tmp_path, 11, guest_words(7), state="T")
    assert Clock(str(tmp_path)).state(7) == "RUNNING"
    fake_process(tmp_path, 10, guest_words(7), state="T")
    assert Clock(str(tmp_path)).state(7) == "PAUSED"


def test_guests_are_listed_in_the_order_of_their_ids(tmp_path: Path) -> None:
    for pid, vm_id in ((10, 30), (11, 4), (12, 200)):
        fake_process(tmp_path, pid, guest_words(vm_id))
    assert GuestScan(str(tmp_path)).scan(0) == ((4, "RUNNING"), (30, "RUNNING"), (200, "RUNNING"))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["/usr/bin/qemu-system-x86_64", "-name", "guest=one-7,debug-threads=on"], 7),
        (["/usr/libexec/qemu-kvm", "-S", "-name", "debug-threads=on,guest=one-12"], 12),
        (["kvm", "-name", "one-7"], 7),
        (["qemu-system-aarch64", "--name", "one-0,process=x"], 0),
        (["qemu-system-x86_64", "-name", "guest=one-7x"], None),
        (["qemu-system-x86_64", "-name", "guest=done-7"], None),
        (["qemu-system-x86_64", "-name", "guest=one-"], None),
        (["qemu-system-x86_64", "-name", "guest=one-99999999999"], None),
        (["qemu-system-x86_64", "-name"], None),
        (["qemu-system-x86_64"], None),
        (["grep", "-name", "guest=one-7"], None),
        (["virsh", "start", "-name", "one-7"], None),
        ([], None),
    ],
)
def test_a_guest_is_known_by_its_program_and_its_name(words: list[str], expected: int | None) -> None:
    assert vm_of(b"".join(word.encode() + b"\0" for word in words)) == expected
