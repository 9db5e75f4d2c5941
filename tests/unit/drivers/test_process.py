"""The subprocess runner against real programs that misbehave in every way we could think of."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.drivers.process import CannotRun, Completed, ended_with, run


def bash(script: str, *, deadline_s: float = 10, **options: object) -> Completed:
    return asyncio.run(run(["bash", "-c", script], deadline_s=deadline_s, **options))  # type: ignore[arg-type]


def alive(pid: int) -> bool:
    """Running, not merely waiting for somebody to collect its exit code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def eventually(check: Callable[[], bool], limit_s: float = 3.0) -> bool:
    deadline = time.monotonic() + limit_s
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_output_code_and_duration_are_reported() -> None:
    done = bash("echo out; echo err >&2; sleep 0.1; exit 7")
    assert (done.code, done.stdout, done.stderr, done.timed_out, done.truncated) == (
        7,
        b"out\n",
        b"err\n",
        False,
        False,
    )
    assert 0.1 <= done.took_s < 5
    assert done.argv[0] == "bash"


def test_a_program_killed_by_a_signal_has_a_negative_code() -> None:
    assert bash("kill -SEGV $$").code == -11


def test_large_input_and_large_output_at_the_same_time_do_not_deadlock() -> None:
    content = os.urandom(4 << 20)
    done = asyncio.run(run(["cat"], stdin=content, deadline_s=30, output_limit=8 << 20))
    assert done.stdout == content


def test_without_input_stdin_is_at_its_end() -> None:
    assert asyncio.run(run(["wc", "-c"], deadline_s=5)).stdout.strip() == b"0"


def test_a_program_that_never_reads_its_input_still_ends() -> None:
    done = asyncio.run(run(["bash", "-c", "exec 0<&-; sleep 0.1; echo done"], stdin=b"x" * 1_000_000, deadline_s=5))
    assert (done.stdout, done.timed_out) == (b"done\n", False)


def test_ten_megabytes_of_noise_are_cut_at_the_limit_and_do_not_block_the_program() -> None:
    done = bash("head -c 10000000 /dev/zero; head -c 10000000 /dev/zero >&2; exit 3", output_limit=1000)
    assert (done.code, len(done.stdout), len(done.stderr), done.truncated) == (3, 1000, 1000, True)


def test_of_what_is_cut_the_end_of_stderr_can_be_kept() -> None:
    said = "for i in $(seq 10000); do echo line $i >&2; done; seq 10000; echo sorry >&2"
    done = bash(said, output_limit=12, stderr_end=10)
    assert (done.stderr, done.truncated) == (b"line 1\nline \n000\nsorry\n", True)
    assert done.stdout == b"1\n2\n3\n4\n5\n6\n"
    assert bash("echo short >&2", output_limit=6, stderr_end=4).stderr == b"short\n"


def test_output_of_exactly_the_limit_is_not_called_truncated() -> None:
    done = bash("head -c 1000 /dev/zero", output_limit=1000)
    assert (len(done.stdout), done.truncated) == (1000, False)


def test_expiry_ends_the_program_and_keeps_what_it_said_so_far() -> None:
    done = bash("echo started; sleep 60", deadline_s=0.3)
    assert (done.timed_out, done.code, done.stdout) == (True, -15, b"started\n")
    assert done.took_s < 2


def test_expiry_kills_the_whole_group_even_where_sigterm_is_ignored(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = (
        f"trap '' TERM; (trap '' TERM; echo $BASHPID >> {pids}; while :; do sleep 1; done) & echo $$ >> {pids}; wait"
    )
    done = bash(script, deadline_s=0.5)
    assert (done.timed_out, done.code) == (True, -9)
    parent_and_child = [int(pid) for pid in pids.read_text().split()]
    assert len(parent_and_child) == 2
    assert eventually(lambda: not any(alive(pid) for pid in parent_and_child))


def test_a_background_child_holding_stdout_neither_blocks_us_nor_survives(tmp_path: Path) -> None:
    done = bash(f"sleep 60 & echo $! > {tmp_path}/pid; echo done")
    assert (done.code, done.stdout, done.timed_out) == (0, b"done\n", False)
    assert done.took_s < 3
    assert eventually(lambda: not alive(int((tmp_path / "pid").read_text())))


def test_what_a_child_says_shortly_after_the_program_ended_is_kept() -> None:
    assert bash("(sleep 0.1; echo late) & echo early").stdout == b"early\nlate\n"


def test_a_background_child_may_be_left_alone_on_request(tmp_path: Path) -> None:
    bash(f"sleep 60 >/dev/null 2>&1 & echo $! > {tmp_path}/pid", leave_background=True)
    pid = int((tmp_path / "pid").read_text())
    assert alive(pid)
    os.kill(pid, 9)


def test_expiry_kills_the_background_too_whatever_was_requested(tmp_path: Path) -> None:
    stubborn = f"(trap '' TERM; echo $BASHPID > {tmp_path}/pid; while :; do sleep 1; done)"
    bash(f"{stubborn} & wait", deadline_s=0.5, leave_background=True)
    assert eventually(lambda: not alive(int((tmp_path / "pid").read_text())))


def test_cancelling_the_task_kills_the_group_and_raises_cancelled(tmp_path: Path) -> None:
    async def scenario() -> int:
        script = f"trap '' TERM; sleep 60 & echo $! > {tmp_path}/pid; while :; do wait; done"
        task = asyncio.create_task(run(["bash", "-c", script], deadline_s=60))
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return int((tmp_path / "pid").read_text())

    pid = asyncio.run(asyncio.wait_for(scenario(), 20))
    assert eventually(lambda: not alive(pid))


def test_no_zombie_and_no_open_descriptor_is_left() -> None:
    async def many() -> tuple[int, int, list[int]]:
        await run(["true"], deadline_s=5)
        before = len(os.listdir("/proc/self/fd"))
        script = ["bash", "-c", "echo $$; cat >/dev/null; exit 1"]
        ended = await asyncio.gather(*(run(script, stdin=b"x", deadline_s=5) for _ in range(20)))
        return before, len(os.listdir("/proc/self/fd")), [int(done.stdout) for done in ended]

    before, after, pids = asyncio.run(many())
    assert after == before
    assert len(set(pids)) == 20
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_the_environment_and_the_directory_are_the_given_ones(tmp_path: Path) -> None:
    done = bash(
        "echo $GREETING; pwd; echo ${HOME-none}", env={"GREETING": "hello", "PATH": "/usr/bin:/bin"}, cwd=tmp_path
    )
    assert done.stdout.decode().split() == ["hello", str(tmp_path), "none"]


def test_arguments_are_never_seen_by_a_shell(tmp_path: Path) -> None:
    nasty = f"$(touch {tmp_path}/owned); `touch {tmp_path}/owned` | & 'x"
    assert asyncio.run(run(["printf", "%s", nasty], deadline_s=5)).stdout.decode() == nasty
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["/no/such/program"], r"Cannot run /no/such/program: no such file or directory\."),
        (["no-such-program-in-path"], r"Cannot run no-such-program-in-path: no such file or directory\."),
        (["/etc/passwd"], r"Cannot run /etc/passwd: permission denied\."),
        ([], r"the command is empty"),
        (["echo", "a\0b"], r"NUL byte"),
        (["echo", "x" * 200_000], r"Cannot run echo: argument list too long\."),
    ],
)
def test_what_cannot_be_started_says_why(argv: list[str], says: str) -> None:
    with pytest.raises(CannotRun, match=says):
        asyncio.run(run(argv, deadline_s=5))


def test_a_script_without_a_first_line_is_explained(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("echo hello\n")
    (tmp_path / "script").chmod(0o755)
    with pytest.raises(CannotRun, match=r"#!/bin/sh"):
        asyncio.run(run([str(tmp_path / "script")], deadline_s=5))


@pytest.mark.parametrize(
    ("first", "says"),
    [
        ("#!/no/such/shell -e\n", r"directory: the interpreter that its first line names, '/no/such/shell'\."),
        ("#!/bin/sh\r\n", r"names, '/bin/sh\\r' \(the line ends as on Windows, CRLF: convert the file\)"),
    ],
)
def test_an_interpreter_that_is_not_there_is_named(tmp_path: Path, first: str, says: str) -> None:
    script = tmp_path / "script"
    script.write_bytes(first.encode() + b"exit 0\n")
    script.chmod(0o755)
    with pytest.raises(CannotRun, match=says):
        asyncio.run(run([str(script)], deadline_s=5))


@pytest.mark.parametrize(
    ("code", "words"),
    [(3, "ended with exit code 3"), (-9, "was killed by signal 9 (SIGKILL)"), (-99, "was killed by signal 99")],
)
def test_an_end_is_told_in_words(code: int, words: str) -> None:
    assert ended_with(code) == words


def test_a_missing_directory_is_named() -> None:
    with pytest.raises(CannotRun, match=r"no such file or directory \(/no/such/directory\)"):
        asyncio.run(run(["true"], deadline_s=5, cwd="/no/such/directory"))
