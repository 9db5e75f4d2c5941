"""Processes that look like guests, and a controller that listens."""

import asyncio
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.agent.config import Address, AgentConfig
from holdfast.agent.statelog import StateLog

LIMIT_S = 10.0
KEY = bytes(range(32))


@pytest.fixture
def vm_id() -> int:
    """An id that no other guest on this machine has, so that what else runs here does not disturb."""
    return 100_000_000 + 20 * os.getpid()


@pytest.fixture
def start_guest() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a shell whose argument list is a guest's: `start_guest(vm_id)`; all are ended afterwards."""
    started: list[subprocess.Popen[bytes]] = []

    def start(vm_id: int, program: str = "/usr/bin/qemu-system-x86_64") -> subprocess.Popen[bytes]:
        words = [program, "-c", "read line", "-name", f"guest=one-{vm_id},debug-threads=on", "-m", "96"]
        started.append(subprocess.Popen(words, executable="/bin/sh", stdin=subprocess.PIPE))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    """Waits for a condition, with a limit."""

    def wait(condition: Callable[[], bool]) -> None:
        limit_s = time.monotonic() + LIMIT_S
        while not condition():
            assert time.monotonic() < limit_s, "not in time"
            time.sleep(0.01)

    return wait


@pytest.fixture
def run_with_limit() -> Callable[..., None]:
    """Runs a coroutine, and fails when it takes too long."""

    def run(body: Callable[[], object]) -> None:
        async def limited() -> None:
            async with asyncio.timeout(2 * LIMIT_S):
                await body()  # type: ignore[misc]

        asyncio.run(limited())

    return run


@pytest.fixture
def log(tmp_path: Path) -> Iterator[StateLog]:
    """A log that writes to `log` in the test's folder."""
    descriptor = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    log = StateLog(descriptor)
    yield log
    log.close()
    os.close(descriptor)


@pytest.fixture
def config_for() -> Callable[..., AgentConfig]:
    """A configuration for host 1 with these controller ports on loopback."""

    def build(*ports: int, **changes: object) -> AgentConfig:
        controllers = tuple(Address(number, "127.0.0.1", port) for number, port in enumerate(ports))
        fields: dict[str, object] = {"host_id": 1, "name": "host1", "key": KEY, "boot_id": "boot-a"}
        return AgentConfig(**(fields | {"controllers": controllers} | changes))  # type: ignore[arg-type]

    return build
