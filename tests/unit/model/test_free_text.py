"""Text from outside: without secrets, printable, bounded."""

from __future__ import annotations

import time

import pytest

from holdfast.model.free_text import printable, shortened, without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("PASSWORD=hunter2", "PASSWORD=********"),
        ('fence failed: FENCE_PASSWORD = "a b", port 1', "fence failed: FENCE_PASSWORD = ********, port 1"),
        ('{"api_key": "x y", "id": 1}', '{"api_key": ********, "id": 1}'),
        ("curl --fence-password hunter2 -v", "curl --fence-password ******** -v"),
        ("GET http://bob:hunter2@store/image", "GET http://bob:********@store/image"),
        ("Authorization: Basic Ym9iOmh1bnRlcjI=", "Authorization: Basic ********"),
        ("sshpass=hunter2;next", "sshpass=********;next"),
    ],
)
def test_a_named_secret_is_hidden(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "the password was refused",
        "bob@host: Permission denied (publickey,password).",
        "CLONE shared store:/var/lib/one/datastores/1/2 kvm1:/var/lib/one/datastores/0/7/disk.0 7 1",
        "nbd://store:10809/disk",
        "bypass mode: 3 monkeys",
    ],
)
def test_text_without_a_secret_stays(text: str) -> None:
    assert without_secrets(text) == text


@pytest.mark.parametrize("word", ["a.", "pass", "pass ", "pass=", "://", "a:", "token-", "--pass "])
def test_no_text_takes_long(word: str) -> None:
    begun = time.process_time()
    for _ in range(10):
        without_secrets("secret://" + word * 1000)
    assert time.process_time() - begun < 2


def test_text_becomes_one_printable_line() -> None:
    assert printable("plain ä") == "plain ä"
    assert printable("a\nb\tc\x1b[0m\ufffe") == "a b c\\x1b[0m\\ufffe"


def test_of_long_text_the_beginning_and_the_end_are_kept() -> None:
    assert shortened("abc", 3) == "abc"
    assert shortened("abcdefgh", 4) == "ab (...) gh"
