"""Amounts, times and state words as OpenNebula writes them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from holdfast.cli.errors import CliError
from holdfast.cli.states import HOST_WORDS, IMAGE_WORDS, action_word, lcm_name, vm_name, vm_word, word
from holdfast.cli.units import duration_text, epoch_s, memory_text, period_text, prolog_text, size_mb, time_text
from holdfast.model.enums import HistoryAction


@pytest.mark.parametrize(
    ("amount_kb", "text"),
    [
        (0, "0K"),
        (512, "512K"),
        (1023, "1023K"),
        (1024, "1M"),
        (131072, "128M"),
        (388608, "379.5M"),
        (1024000, "1000M"),
        (8388608, "8G"),
        (16777216 * 1024, "16T"),
    ],
)
def test_memory_is_written_short(amount_kb: int, text: str) -> None:
    assert memory_text(amount_kb) == text
    assert memory_text(amount_kb, raw=True) == str(amount_kb)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512", 512),
        ("512m", 512),
        ("8g", 8192),
        ("1.5G", 1536),
        ("1.0005g", 1025),
        ("2TB", 2 << 20),
        ("64 MB", 64),
        ("1" + "0" * 30, 10**30),
    ],
)
def test_sizes_are_read_with_their_unit(text: str, size: int) -> None:
    assert size_mb(text, "--memory") == size


@pytest.mark.parametrize("text", ["", "g", "8x", "-8g", "0", "0.2m", "1e3"])
def test_a_wrong_size_names_the_option_and_the_value(text: str) -> None:
    with pytest.raises(CliError, match=f"--memory must be a size .*'{text}'"):
        size_mb(text, "--memory")


def test_times_and_periods() -> None:
    assert time_text(1795335383) == "11/22 08:16:23"
    assert time_text(1795335383, with_seconds=False) == "11/22 08:16"
    assert time_text(0) == "-"
    assert period_text(330) == "  0d 00h05"
    assert period_text(1103 * 86400 + 12 * 3600 + 39 * 60) == "1103d 12h39"
    assert period_text(-5) == "  0d 00h00"
    assert prolog_text(2) == "  0h00m02s"
    assert prolog_text(3725) == "  1h02m05s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(6.41, "6.4 s"), (-1, "0.0 s"), (192, "3m12s"), (7500, "2h05m"), (4 * 86400 + 3 * 3600, "4d03h")],
)
def test_durations_are_written_as_people_say_them(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    "text", ["1795335383", "2026-11-22 08:16:23", "2026/11/22 08:16:23", "2026-11-22T08:16:23+00:00"]
)
def test_a_moment_may_be_spelled_in_several_ways(text: str) -> None:
    assert epoch_s(text, "--since") == 1795335383


def test_a_time_alone_means_today() -> None:
    assert time_text(epoch_s("08:16", "--since"), with_seconds=False).endswith(" 08:16")


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "25:00", "12"])
def test_a_wrong_moment_names_the_option(text: str) -> None:
    with pytest.raises(CliError, match="--until must be a time such as"):
        epoch_s(text, "--until")


_STATES = Path(__file__).parents[2] / "data" / "one" / "one-vm-states.csv"
_BETTER = {0: "actv", 58: "snap"}
"""OpenNebula's table has no word for these two."""


def _original_words(kind: str) -> dict[int, str]:
    with _STATES.open(encoding="utf-8") as lines:
        return {int(row["number"]): row["short"] for row in csv.DictReader(lines) if row["kind"] == kind}


def test_an_active_vm_shows_the_word_of_its_lcm_state() -> None:
    ours = {lcm_state: vm_word(3, lcm_state) for lcm_state in range(72)}
    assert ours == _original_words("LCM_STATE") | _BETTER
    assert all(4 >= len(short) > 0 for short in ours.values())


def test_a_vm_that_is_not_active_shows_the_word_of_its_state() -> None:
    assert {state: vm_word(state, 0) for state in range(12)} == _original_words("STATE")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (HistoryAction.NONE, "none"),
        (HistoryAction.LIVE_MIGRATE, "live-migrate"),
        (HistoryAction.POFF_MIGRATE, "poweroff-migrate"),
        (HistoryAction.POFF_HARD_MIGRATE, "poweroff-hard-migrate"),
        (HistoryAction.RESTORE, "restore"),
        (4, "shutdown-hard"),
        (12, "boot"),
        (37, "snapshot-create"),
        (51, "nic-update"),
        (63, "exec-cancel"),
        (65, "vmgroup-del"),
        (66, "66"),
        (-1, "-1"),
    ],
)
def test_actions_of_the_history_have_opennebulas_words(number: int, text: str) -> None:
    assert action_word(number) == text


@pytest.mark.parametrize("action", [each for each in HistoryAction if "POFF" not in each.name], ids=lambda a: a.name)
def test_the_word_of_an_action_is_its_name(action: HistoryAction) -> None:
    assert action_word(action) == action.name.lower().replace("_", "-")


def test_other_states_have_their_words() -> None:
    words = [vm_word(state, 0) for state in range(12)]
    assert words == ["init", "pend", "hold", "actv", "stop", "susp", "done", "fail", "poff", "unde", "clon", "fail"]
    assert [word(HOST_WORDS, state) for state in range(9)] == [
        "init", "update", "on", "err", "dsbl", "retry", "init", "dsbl", "off",
    ]  # fmt: skip
    assert word(IMAGE_WORDS, 8) == "used"


def test_states_from_a_newer_server_do_not_break_the_screen() -> None:
    assert word(HOST_WORDS, 99) == "?"
    assert (vm_word(3, 99), vm_name(99), lcm_name(99), action_word(99)) == ("?", "99", "99", "99")
    assert (vm_name(8), lcm_name(16), action_word(20)) == ("POWEROFF", "UNKNOWN", "poweroff-hard")
