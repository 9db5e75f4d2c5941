"""What a transfer tells while it runs."""

from __future__ import annotations

import asyncio
import re

import pytest

from holdfast.drivers.tm.account import Account
from holdfast.drivers.tm.lines import TransferError

MIB = 1 << 20


def told(said: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Without the seconds, which differ."""
    return [(severity, re.sub(r"\d+\.\d s", "N s", text)) for severity, text in said]


def test_each_line_is_told_with_its_result() -> None:
    said: list[tuple[str, str]] = []

    async def work() -> None:
        account = Account(lambda *words: said.append(words))
        with account.line("CLONE shared a b", 1, 2):
            account.copied(5 * MIB, 64 * MIB)
            account.copied(64 * MIB, 64 * MIB)
        with pytest.raises(TransferError), account.line("LN shared a b", 2, 2):
            raise TransferError("no space")

    asyncio.run(work())
    assert told(said) == [
        ("I", "(1/2) CLONE shared a b: done in N s, 64 MiB copied"),
        ("E", "(2/2) LN shared a b: failed after N s: no space"),
    ]


def test_a_line_that_takes_long_is_told_while_it_runs_at_growing_intervals() -> None:
    said: list[tuple[str, str]] = []

    async def work() -> None:
        account = Account(lambda *words: said.append(words), first_word_s=0.05)
        with account.line("MV ssh a b", 1, 1):
            await asyncio.sleep(0.075)
            account.copied(16 * MIB, 64 * MIB)
            await asyncio.sleep(0.05)
            account.copied(48 * MIB, 64 * MIB)
            await asyncio.sleep(0.025)
        await asyncio.sleep(0.1)

    asyncio.run(work())
    assert [text.partition(": ")[2].split(" after")[0].split(" in")[0] for _, text in said] == [
        "runs for 0 s",
        "25 % of 64 MiB",
        "done",
    ]
