"""One hook execution, with real scripts; ssh is a script in front of the PATH."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from holdfast.hooks.executor import HookResult, execute


class Place:
    """A hook directory, a product directory and a directory of programs."""

    def __init__(self, root: Path) -> None:
        self.base, self.libexec, self.programs = root / "remotes/hooks", root / "libexec", root / "bin"
        self.env = {"PATH": f"{self.programs}:/usr/bin:/bin"}

    def script(self, path: Path, body: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/bash\n" + body + "\n")
        path.chmod(0o755)
        return path

    def hook(self, body: str, name: str = "test.sh") -> None:
        self.script(self.base / name, body)

    def run(
        self,
        command: str = "test.sh",
        arguments: str = "",
        *,
        stdin: bool = False,
        remote_host: str | None = None,
        timeout_s: float | None = None,
        **env: str,
    ) -> HookResult:
        return asyncio.run(
            execute(
                command,
                arguments,
                stdin=stdin,
                remote_host=remote_host,
                base_path=self.base,
                env=self.env | env,
                timeout_s=timeout_s,
                libexec=self.libexec,
            )
        )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_output_code_and_command_are_kept(place: Place) -> None:
    place.hook("echo out; echo err >&2; exit 3")
    result = place.run(arguments="one two")
    assert result == HookResult(f"{place.base}/test.sh one two", "one two", b"out\n", b"err\n", 3)


def test_arguments_are_appended_as_separate_words(place: Place) -> None:
    place.hook("printf '[%s]' \"$@\"; cat")
    assert place.run(arguments="a  b $HOME;c").stdout == b"[a][b][$HOME;c]"


def test_arguments_go_to_stdin_when_the_hook_says_so(place: Place) -> None:
    place.hook('echo "$#"; cat')
    result = place.run(arguments="PEhPU1Q+ -m -p 5", stdin=True)
    assert result.stdout == b"0\nPEhPU1Q+ -m -p 5"
    assert result.command == f"{place.base}/test.sh"


def test_a_large_template_fits_through_stdin_but_not_through_argv(place: Place) -> None:
    place.hook("wc -c")
    assert place.run(arguments="x" * 300_000, stdin=True).stdout.strip() == b"300000"
    refused = place.run(arguments="x" * 300_000)
    assert refused.code == 255
    assert b"argument list too long. Set ARGUMENTS_STDIN=yes." in refused.stderr


def test_the_command_may_carry_words_of_its_own(place: Place) -> None:
    place.hook("printf '[%s]' \"$@\"")
    assert place.run("test.sh --name 'two words'", "more").stdout == b"[--name][two words][more]"


def test_an_absolute_command_is_run_as_it_is(place: Place) -> None:
    assert place.run("/bin/echo hello").stdout == b"hello\n"


def test_our_own_hooks_come_before_those_of_the_directory(place: Place) -> None:
    place.hook("echo theirs", "ft/host_error")
    place.script(place.libexec / "ft/host_error", "echo ours")
    assert place.run("ft/host_error").stdout == b"ours\n"


def test_the_name_that_opennebula_uses_finds_our_host_error(place: Place) -> None:
    place.script(place.libexec / "ft/host_error", "echo ours")
    assert place.run("ft/host_error.rb").stdout == b"ours\n"
    place.hook("echo theirs", "ft/host_error.rb")
    assert place.run("ft/host_error.rb").stdout == b"theirs\n"


def test_the_environment_is_minimal_plus_what_is_given(place: Place) -> None:
    os.environ["HOLDFAST_TEST_SECRET"] = "x"
    try:
        place.hook("env")
        result = place.run(ONE_AUTH="/some/where", ONE_XMLRPC="http://127.0.0.1:2633/RPC2")
    finally:
        del os.environ["HOLDFAST_TEST_SECRET"]
    names = {line.split("=")[0] for line in result.stdout.decode().splitlines()}
    assert names - {"PWD", "SHLVL", "_"} == {"PATH", "HOME", "LANG", "ONE_AUTH", "ONE_XMLRPC"}


# --- what cannot be run to its end has code 255 and says why


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("missing.sh", "missing.sh: no such file or directory."),
        ("", "COMMAND is empty"),
        ("test.sh 'open", "cannot be split into words: no closing quotation"),
        ("test.sh > /tmp/log", "contains '>', but hook commands are run without a shell"),
    ],
)
def test_a_command_that_cannot_be_started_says_why(place: Place, command: str, says: str) -> None:
    place.hook("true")
    result = place.run(command)
    assert (result.code, result.stdout) == (255, b"")
    assert says in result.stderr.decode()


def test_a_hook_out_of_time_is_killed_with_all_its_children(place: Place, tmp_path: Path) -> None:
    place.hook(f"sleep 60 & echo $! > {tmp_path}/pid; echo begun; echo warning >&2; wait")
    result = place.run(timeout_s=0.3)
    assert (result.code, result.stdout) == (255, b"begun\n")
    assert result.stderr == b"warning\nTimeout executing the hook: it did not end within 0.3 s and was killed.\n"
    deadline = time.monotonic() + 3
    while Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists():
        assert time.monotonic() < deadline, "the child of the hook survived"
        time.sleep(0.01)


def test_a_hook_killed_by_a_signal_has_code_255(place: Place) -> None:
    place.hook("printf partial >&2; kill -SEGV $$")
    result = place.run()
    assert (result.code, result.stderr) == (255, b"partial\nThe hook was killed by signal 11 (Segmentation fault).\n")


def test_too_much_output_is_cut_and_the_log_says_so(place: Place) -> None:
    place.hook("head -c 3000000 /dev/zero")
    result = place.run()
    assert (result.code, len(result.stdout)) == (0, 1 << 20)
    assert result.stderr == b"Output was cut at 1048576 bytes.\n"


def test_a_background_process_of_a_hook_neither_blocks_nor_is_killed(place: Place, tmp_path: Path) -> None:
    place.hook(f"(sleep 1.5; echo late > {tmp_path}/late) >/dev/null 2>&1 & echo started")
    started = time.monotonic()
    assert place.run().stdout == b"started\n"
    assert not (tmp_path / "late").exists()
    while not (tmp_path / "late").exists():
        assert time.monotonic() - started < 10, "the background process did not survive"
        time.sleep(0.01)


# --- on a host

FAKE_SSH = """
printf '%s\\n' "$@" > "$(dirname "$0")/asked"
while [ "$1" != -- ]; do shift; done; shift
exec /bin/sh -c "$*"
"""


def test_a_remote_hook_goes_through_ssh_and_its_words_survive_the_shell_there(place: Place, tmp_path: Path) -> None:
    place.script(place.programs / "ssh", FAKE_SSH)
    remote = place.script(tmp_path / "remote.sh", "printf '[%s]' \"$@\"; cat")
    result = place.run(f"{remote} 'two words'", "$HOME a;b", remote_host="node1")
    assert (result.stdout, result.code) == (b"[two words][$HOME][a;b]", 0)
    asked = (place.programs / "asked").read_text().splitlines()
    assert asked[:6] == ["-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "node1", "--"]


def test_a_remote_hook_reads_its_arguments_from_stdin(place: Place) -> None:
    place.script(place.programs / "ssh", FAKE_SSH)
    assert place.run("/bin/cat", "a b", stdin=True, remote_host="node1").stdout == b"a b"


def test_a_relative_remote_command_is_looked_up_on_the_host(place: Place) -> None:
    place.script(place.programs / "ssh", FAKE_SSH)
    result = place.run("own/hook.sh", remote_host="node1")
    assert result.command == "/var/tmp/one/hooks/own/hook.sh"
    assert result.code == 127


@pytest.mark.parametrize("host", ["", "-oProxyCommand=x", "two words"])
def test_a_remote_hook_needs_a_real_host_name(place: Place, host: str) -> None:
    result = place.run("/bin/true", remote_host=host)
    assert (result.code, b"needs the name of a host" in result.stderr) == (255, True)
