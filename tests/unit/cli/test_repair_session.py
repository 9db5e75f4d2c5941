"""A dialogue's calls when answers get lost on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast
from xml.etree.ElementTree import Element, fromstring

import pytest

from holdfast.cli import repair_session
from holdfast.cli.connection import Connection
from holdfast.cli.errors import ApiError, Unreachable
from holdfast.cli.repair_session import RepairSession, seat
from holdfast.cli.rpc import Client

GONE = Unreachable("Cannot reach http://there: connection refused.")
TAKEN = ApiError("Line 1 was not run: record 7 is taken already", 2048)
Said = Element | int | Exception


@dataclass
class FakeClient:
    """Answers as scripted, by method."""

    script: dict[str, list[Said]]
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    connection: Connection = field(default_factory=lambda: Connection("http://there", "a:b"))

    def _next(self, method: str, arguments: tuple[Any, ...]) -> Any:
        self.calls.append((method, *arguments))
        said = self.script[method].pop(0)
        if isinstance(said, Exception):
            raise said
        return said

    def identifier(self, method: str, *arguments: Any) -> int:
        """An id."""
        return cast(int, self._next(method, arguments))

    def document(self, method: str, *arguments: Any) -> Element:
        """A document."""
        return cast(Element, self._next(method, arguments))


def stands(records: str = "", position: int = 1) -> Element:
    return fromstring(f"<REPAIR><POSITION>{position}</POSITION><RECORDS>{records}</RECORDS></REPAIR>")


def output(result: str, first: int, *lines: str) -> Element:
    said = "".join(f"<LINE>{line}</LINE>" for line in lines)
    return fromstring(f"<OUTPUT><RESULT>{result}</RESULT><FIRST>{first}</FIRST><LINES>{said}</LINES></OUTPUT>")


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair_session, "AGAIN_S", 0.0)


def a_session(**script: list[Said]) -> tuple[RepairSession, FakeClient]:
    client = FakeClient({f"one.vm.repair{name}": said for name, said in script.items()})
    return RepairSession(cast(Client, client), 5), client


def test_a_lost_call_is_made_again_and_that_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    session, client = a_session(run=[GONE, GONE, 5])
    session.run(1, 7)
    assert [call[3:] for call in client.calls] == [(1, 7)] * 3
    said = capsys.readouterr().err.splitlines()
    assert said == [f"{GONE} Trying again for 180 s; the repair stays as it is.", "The server answers again."]


def test_a_refusal_after_a_lost_answer_may_mean_that_it_was_done() -> None:
    session, _ = a_session(run=[GONE, TAKEN], info=[stands("<RECORD><ID>7</ID></RECORD>")])
    session.run(1, 7)
    session, _ = a_session(skip=[GONE, TAKEN], info=[stands(position=2)])
    session.skip(1)


@pytest.mark.parametrize("script", [{"run": [TAKEN]}, {"run": [GONE, TAKEN], "info": [stands()]}])
def test_any_other_refusal_is_a_refusal(script: dict[str, list[Said]]) -> None:
    session, _ = a_session(**script)
    with pytest.raises(ApiError, match="record 7 is taken already"):
        session.run(1, 7)


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair_session, "PATIENCE_S", 0.0)
    session, _ = a_session(info=[GONE, GONE, GONE])
    with pytest.raises(Unreachable):
        session.look()


def test_output_comes_piece_by_piece_until_the_end() -> None:
    session, client = a_session(output=[output("RUNNING", 0, "a", "b"), GONE, output("SUCCESS", 2, "c")])
    assert list(session.output(7)) == [(["a", "b"], "RUNNING"), (["c"], "SUCCESS")]
    assert [call[3] for call in client.calls] == [0, 2, 2]


def test_after_a_restart_of_the_controller_what_is_kept_is_not_shown_twice() -> None:
    session, _ = a_session(output=[output("RUNNING", 0, "a"), output("UNKNOWN", 0, "a", "stopped")])
    assert list(session.output(7)) == [(["a"], "RUNNING"), (["stopped"], "UNKNOWN")]


@pytest.mark.parametrize("refusal", [GONE, TAKEN])
def test_leaving_does_not_fail(refusal: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> int:
        raise refusal

    brief: Callable[..., Any] = type("Brief", (), {"identifier": lambda self, *arguments: refuse()})
    session, _ = a_session()
    monkeypatch.setattr(session, "_brief", brief)
    session.leave()


def test_a_seat_names_login_machine_and_place() -> None:
    login, _, rest = seat().partition("@")
    machine, _, place = rest.partition(", ")
    assert login
    assert machine
    assert place
