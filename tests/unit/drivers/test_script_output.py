"""What scripts say on stderr, in the three generations of their conventions."""

from __future__ import annotations

import random
import time

import pytest

from holdfast.drivers.script_output import ERROR_LIMIT, LINE_LIMIT, LINES_LIMIT, script_output

BLOCK = b"""\
INFO: clone: Cloning /images/1
ERROR: clone: Command "cp /images/1 disk.0" failed: cp: no space
ERROR MESSAGE --8<------
Error copying /images/1
to disk.0
ERROR MESSAGE ------>8--
ExitCode: 1
"""
PLAIN = b"""\
INFO: mv: Moving stuff
ERROR: mv: Command "mv a b" failed
Error moving a to b
"""


def lines_of(stderr: bytes, vm_id: int = 7) -> list[tuple[str, str]]:
    return [(line.severity, line.text) for line in script_output(stderr, vm_id).lines]


def test_an_error_message_block_is_the_error() -> None:
    output = script_output(BLOCK)
    assert output.error == "Error copying /images/1 to disk.0"
    assert [(line.severity, line.text) for line in output.lines] == [
        ("I", "clone: Cloning /images/1"),
        ("E", 'clone: Command "cp /images/1 disk.0" failed: cp: no space'),
        ("E", "Error copying /images/1"),
        ("E", "to disk.0"),
        ("I", "ExitCode: 1"),
    ]


def test_a_block_that_is_not_closed_is_the_error_as_far_as_it_came() -> None:
    assert script_output(b"noise\nERROR MESSAGE --8<------\nno space").error == "no space"


def test_without_a_block_the_lines_without_severity_are_the_error() -> None:
    assert script_output(PLAIN).error == "Error moving a to b"
    assert script_output(b"no space\nleft on device\n").error == "no space left on device"


def test_if_all_lines_have_a_severity_the_errors_among_them_are_the_error() -> None:
    assert script_output(b"INFO: begun\nERROR: mv: failed\nERROR: no space\n").error == "mv: failed no space"


def test_a_script_that_said_nothing_has_no_error_text() -> None:
    assert script_output(b"").error == ""
    assert script_output(b"\n \n\t\nExitCode: 3\n").error == ""


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        (b"ERROR: text", ("E", "text")),
        (b"INFO: text", ("I", "text")),
        (b"WARN: text", ("W", "text")),
        (b"WARNING: text", ("W", "text")),
        (b"DEBUG: text", ("D", "text")),
        (b"INFO: 7 text", ("I", "text")),
        (b"INFO: 8 disks to copy", ("I", "8 disks to copy")),
        (b"LOG E 7 text", ("E", "text")),
        (b"LOG W -1 text", ("W", "text")),
        (b"LOG I  text", ("I", "text")),
        (b"LOG D 8 text", ("D", "8 text")),
        (b"LOG X 7 text", ("I", "LOG X 7 text")),
        (b"ERROR 12: text", ("I", "ERROR 12: text")),
        (b"text", ("I", "text")),
        (b"  text \r\n", ("I", "text")),
    ],
)
def test_a_line_has_the_severity_that_the_script_gave(said: bytes, heard: tuple[str, str]) -> None:
    assert lines_of(said) == [heard]


def test_what_the_script_meant_for_the_log_is_told_from_noise() -> None:
    assert [line.tagged for line in script_output(PLAIN).lines] == [True, True, False]


def test_bytes_that_are_no_text_are_escaped() -> None:
    assert lines_of(b"a\0b\xff\x1b[31mred \xe2\x80\xaeabc\tz") == [("I", "a\\x00b\\xff\\x1b[31mred \\u202eabc z")]
    output = script_output(random.Random(1).randbytes(1 << 18))
    assert all(line.text.isprintable() for line in output.lines)
    assert output.error.isprintable()


def test_progress_that_overwrites_its_line_becomes_lines() -> None:
    assert lines_of(b" 10%\r 20%\r\n") == [("I", "10%"), ("I", "20%")]


def test_of_a_very_long_line_the_beginning_is_kept() -> None:
    (line,) = lines_of(b"x" * (LINE_LIMIT + 5))
    assert line == ("I", "x" * LINE_LIMIT + " (5 more bytes)")


def test_of_very_many_lines_the_first_and_the_last_are_kept() -> None:
    output = script_output(b"".join(b"INFO: %d\n" % number for number in range(10_000)), vm_id=-1)
    assert len(output.lines) == LINES_LIMIT + 1
    assert (output.lines[0].text, output.lines[-1].text) == ("0", "9999")
    assert output.lines[LINES_LIMIT // 2].text == "(9500 lines of output are left out here)"


def test_of_a_long_error_the_beginning_and_the_end_are_kept() -> None:
    error = script_output(b"first\n" + b"x" * 1500 + b"\n" + b"y" * 1500 + b"\nlast\n").error
    assert error.startswith("first xxx")
    assert error.endswith("yyy last")
    assert " (...) " in error
    assert len(error) == ERROR_LIMIT + len(" (...) ")


def test_a_long_error_within_the_limit_is_whole() -> None:
    lines = [b"%04d" % number for number in range(399)]
    assert script_output(b"\n".join(lines)).error == b" ".join(lines).decode()


def test_secrets_do_not_get_through() -> None:
    output = script_output(b"ERROR: curl http://bob:hunter2@store/1 failed\nPASSWORD=hunter2 was refused\n")
    assert "hunter2" not in output.error + str(output.lines)


def test_an_error_message_in_the_middle_of_very_much_output_is_the_error() -> None:
    noise = b"noise\n" * 10_000
    output = script_output(noise + BLOCK + noise)
    assert output.error == "Error copying /images/1 to disk.0"
    assert len(output.lines) == LINES_LIMIT + 1
    many = b"ERROR MESSAGE --8<------\n" + b"word\n" * 10_000
    output = script_output(noise + many)
    assert output.error.startswith("word word")
    assert len(output.error) == ERROR_LIMIT + len(" (...) ")
    assert (output.lines[-1].severity, output.lines[-1].text) == ("E", "word")


MIB = 1 << 20
FLOODS = [
    b"y\n",
    b"\r",
    b"INFO: 7 x\n",
    b"x",
    b"pass=\n",
    b"\xff\n",
    b"ERROR MESSAGE --8<---\n",
    b"ERROR MESSAGE --->8--\n",
]


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_of_output_is_read_quickly(flood: bytes) -> None:
    output = flood * (MIB // len(flood))
    begun = time.process_time()
    script_output(output, 7)
    assert time.process_time() - begun < 1.0
