"""The arguments of the failover hook, on standard input or on the command line."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.cli.errors import CliError, UsageError
from holdfast.libexec.fence_script import find_fence_script, run_fence_script
from holdfast.libexec.hook_arguments import HookArguments, parse_arguments, read_words
from holdfast.libexec.hook_log import HookLog
from tests.unit.cli.processes import left_in_group
from tests.unit.cli.scripted_server import sample

_TEMPLATE = base64.b64encode(sample("host_error.xml").encode()).decode()


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ("13 -m", HookArguments(13, "migrate", pause=2)),
        ("13 -m -p 5", HookArguments(13, "migrate", pause=5)),
        ("13 -r -f -p0 -u", HookArguments(13, "recreate", force=True, pause=0, fencing=False)),
        ("-dfu 13", HookArguments(13, "delete", force=True, fencing=False)),
        ("13 --migrate --pause=7 --no-fencing", HookArguments(13, "migrate", pause=7, fencing=False)),
        ("13 --recreate --force", HookArguments(13, "recreate", force=True)),
        ("13 -m -r -d", HookArguments(13, "delete")),
        (f"{_TEMPLATE} -m -p 5", HookArguments(13, "migrate", pause=5)),
    ],
)
def test_the_arguments_are_opennebulas(words: str, arguments: HookArguments) -> None:
    assert parse_arguments(words.split()) == arguments


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "Name one host, as .TEMPLATE or by its id: there is none"),
        ("-m", "Name one host"),
        ("13 14 -m", "Name one host.*2 were given"),
        ("13", r"Say what to do with the VMs: -m \(migrate\), -r \(recreate\) or -d \(delete\)"),
        ("13 -m -x", "invalid option: -x"),
        ("13 -m -p", "missing argument: -p N"),
        ("13 -m -p many", "--pause must be a whole number of at least 0, it is 'many'"),
        ("13 -m -p 10001", "--pause must be at most 10000 cycles, it is 10001"),
        ("node3 -m", "'node3' is neither a host id nor the host's XML in base64"),
        (f"{base64.b64encode(b'<HOST><NAME>a</NAME></HOST>').decode()} -m", "holds no HOST/ID"),
        (f"{base64.b64encode(b'<HOST>').decode()} -m", "cannot be read"),
    ],
)
def test_a_wrong_argument_is_named(words: str, message: str) -> None:
    with pytest.raises(UsageError if "cannot" not in message else CliError, match=message):
        parse_arguments(words.split())


def test_a_template_with_a_document_type_is_refused() -> None:
    hostile = base64.b64encode(b'<!DOCTYPE HOST [<!ENTITY a "1">]><HOST><ID>&a;</ID></HOST>').decode()
    with pytest.raises(CliError, match="document type"):
        parse_arguments([hostile, "-m"])


@contextmanager
def _pipe(data: bytes, keep_open: bool = False) -> Iterator[int]:
    reader, writer = os.pipe()
    os.write(writer, data)
    if not keep_open:
        os.close(writer)
    try:
        yield reader
    finally:
        os.close(reader)
        if keep_open:
            os.close(writer)


def test_standard_input_wins_when_it_holds_anything() -> None:
    with _pipe(b" 13 -m\n -p 5 ") as descriptor:
        assert read_words(["99", "-d"], descriptor) == ["13", "-m", "-p", "5"]


def test_the_command_line_is_used_when_standard_input_is_empty() -> None:
    with _pipe(b"") as descriptor:
        assert read_words(["13", "-m"], descriptor) == ["13", "-m"]


def test_the_command_line_is_used_when_nothing_ever_comes() -> None:
    with _pipe(b"", keep_open=True) as descriptor:
        assert read_words(["13", "-m"], descriptor) == ["13", "-m"]


def test_a_closed_standard_input_is_an_empty_one() -> None:
    with _pipe(b"") as descriptor:
        closed = os.dup(descriptor)
    os.close(closed)
    assert read_words(["13", "-m"], closed) == ["13", "-m"]


def test_a_large_template_fits_standard_input(tmp_path: Path) -> None:
    file = tmp_path / "input"
    file.write_bytes(b"A" * 1_000_000 + b" -m")
    descriptor = os.open(file, os.O_RDONLY)
    try:
        assert [len(word) for word in read_words([], descriptor)] == [1_000_000, 2]
    finally:
        os.close(descriptor)


def _script(directory: Path, body: str) -> Path:
    path = directory / "fence_host.sh"
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_the_fence_script_gets_the_host_in_base64_and_its_words_are_kept(tmp_path: Path) -> None:
    result = run_fence_script(_script(tmp_path, "base64 -d; echo done >&2"), "<HOST>ä</HOST>")
    assert (result.fenced, result.output, result.failure) == (True, "<HOST>ä</HOST>done\n", "")


def test_a_fence_script_that_fails_has_not_fenced(tmp_path: Path) -> None:
    result = run_fence_script(_script(tmp_path, "echo no ip; exit 3"), "<HOST/>")
    assert (result.fenced, result.output) == (False, "no ip\n")
    assert result.failure.endswith("fence_host.sh ended with exit code 3")


def test_a_fence_script_that_does_not_read_its_input_may_still_fence(tmp_path: Path) -> None:
    assert run_fence_script(_script(tmp_path, "exec <&-; exit 0"), "<HOST>" + "a" * 500_000 + "</HOST>").fenced


def test_a_fence_script_that_hangs_is_killed_with_all_it_started(tmp_path: Path) -> None:
    script = _script(tmp_path, f"echo $$ > {tmp_path}/group\necho begun\nsleep 60 &\nwait")
    result = run_fence_script(script, "<HOST/>", time_limit_s=0.5)
    assert not result.fenced
    assert "did not end within 0.5 s and was killed" in result.failure
    assert result.output == "begun\n"
    assert left_in_group(int((tmp_path / "group").read_text(encoding="utf-8"))) == []


def test_a_fence_script_that_cannot_start_is_told(tmp_path: Path) -> None:
    path = tmp_path / "fence_host.sh"
    path.write_text("#!/nonexistent/interpreter\n", encoding="utf-8")
    path.chmod(0o755)
    assert "cannot be started: No such file" in run_fence_script(path, "<HOST/>").failure


def test_only_an_executable_script_is_found(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "fence_host.sh").write_text("", encoding="utf-8")
    assert find_fence_script([tmp_path / "a", tmp_path / "b"]) is None
    script = _script(tmp_path / "b", "")
    assert find_fence_script([tmp_path / "a", tmp_path / "b"]) == script


def test_the_log_goes_to_one_log_dir(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = HookLog({"ONE_LOG_DIR": str(tmp_path)}, "13")
    log.info("first")
    log.error("two\nlines")
    lines = (tmp_path / "host_error.log").read_text(encoding="utf-8").splitlines()
    assert [line[line.index("]") + 1 :] for line in lines] == [
        "[HOST 13][I] first",
        "[HOST 13][E] two",
        "[HOST 13][E] lines",
    ]
    assert lines[0].startswith("[20")
    assert capsys.readouterr() == ("", "")


def test_the_log_goes_to_standard_error_where_it_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = HookLog({"ONE_LOG_DIR": str(tmp_path / "none")}, "13")
    log.info("first")
    log.info("second")
    errors = capsys.readouterr().err.splitlines()
    assert errors[0].startswith(f"Cannot write {tmp_path}/none/host_error.log (No such file or directory)")
    assert [line.partition("]")[2] for line in errors[1:]] == ["[HOST 13][I] first", "[HOST 13][I] second"]
    assert log.place == "standard error"
