"""Lost hosts: a line that needs the files of one is not carried out, so that no step contacts it or waits for it.

What it would remove stays there; whatever else it would do has failed before it began.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

from holdfast.drivers.tm.account import Account
from holdfast.drivers.tm.lines import Line, TransferError


def within_reach(lines: Iterable[Line], lost: Set[str], account: Account) -> list[Line]:
    """The lines that can be carried out; raises TransferError when one that cannot is more than a removal."""
    kept = []
    for number, line in enumerate(lines, 1):
        host = next((host for host in _hosts(line) if host in lost), "")
        if not host:
            kept.append(line)
        elif line.verb == "DELETE":
            account.log("W", line.failed(number, f"host {host} is lost: the files stay there"))
        else:
            raise TransferError(line.failed(number, f"host {host} is lost, with the files: try again when it is back"))
    return kept


def _hosts(line: Line) -> Iterable[str]:
    return (word.partition(":")[0] for word in line.arguments if ":" in word)
