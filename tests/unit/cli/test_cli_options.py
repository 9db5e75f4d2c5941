"""Options in every spelling, anywhere on the line."""

from __future__ import annotations

import pytest

from holdfast.cli.errors import UsageError
from holdfast.cli.options import Option, parse_options

_OPTIONS = (
    Option("pause", "p", "N"),
    Option("force", "f"),
    Option("no-fencing", "u"),
    Option("filter", argument="X"),
    Option("expand", argument="[x]"),
)


@pytest.mark.parametrize(
    "words", ["-p 5", "-p5", "--pause 5", "--pause=5", "--pau 5", "-fp5", "-f -p 5", "-p 1 -p 5", "-p 4 --pause=5"]
)
def test_a_value_may_be_spelled_in_many_ways(words: str) -> None:
    values, arguments = parse_options(["7", *words.split(), "8"], _OPTIONS)
    assert values.number("pause") == 5
    assert arguments == ["7", "8"]


def test_short_switches_may_be_joined() -> None:
    values, _ = parse_options(["-fu"], _OPTIONS)
    assert values.switch("force")
    assert values.switch("no-fencing")
    assert not values.switch("pause")


def test_two_dashes_end_the_options() -> None:
    assert parse_options(["-f", "--", "-p", "-"], _OPTIONS)[1] == ["-p", "-"]


def test_a_single_dash_is_an_argument() -> None:
    assert parse_options(["-"], _OPTIONS)[1] == ["-"]


def test_a_full_name_is_not_ambiguous_with_a_longer_one() -> None:
    options = (Option("delete"), Option("delete-db"))
    assert parse_options(["--delete"], options)[0].given == {"delete": ""}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--fo", "--f"], r"^ambiguous option: --f \(--force, --filter\)$"),
        (["--nothing"], "^invalid option: --nothing$"),
        (["-x"], "^invalid option: -x$"),
        (["-p"], "^missing argument: -p N$"),
        (["--filter"], "^missing argument: --filter X$"),
        (["--force=yes"], "^--force takes no value.$"),
        (["--=1"], "^invalid option: --$"),
    ],
)
def test_a_wrong_option_is_named(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_options(words, _OPTIONS)


@pytest.mark.parametrize("value", ["many", "-1", "1.5", "", "²"])
def test_a_value_that_must_be_a_number_is_checked(value: str) -> None:
    values, _ = parse_options([f"--pause={value}"], _OPTIONS)
    with pytest.raises(UsageError, match=f"--pause must be a whole number of at least 0, it is '{value}'"):
        values.number("pause")


def test_an_optional_value_may_be_left_out() -> None:
    assert parse_options(["--expand", "-f"], _OPTIONS)[0].given == {"expand": "", "force": ""}
    assert parse_options(["--expand", "name"], _OPTIONS)[0].text("expand") == "name"
    assert parse_options(["--expand"], _OPTIONS)[0].text("expand") == ""


def test_the_last_of_several_modes_wins() -> None:
    values, _ = parse_options(["-f", "-u", "-f"], _OPTIONS)
    assert values.last_of("force", "no-fencing") == "force"
    assert values.last_of("pause") is None
