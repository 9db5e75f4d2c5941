"""Fragments are rendered once per version of an object and forgotten with it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from holdfast.api.views.fragments import RENDERED_IN_A_ROW, Fragments
from holdfast.model.host import Host
from tests.unit.api.world import host


class Workshop:
    """A pool of hosts and a count of how often one was rendered."""

    def __init__(self, size: int) -> None:
        self.pool = {oid: host(oid) for oid in range(size)}
        self.rendered: list[int] = []
        self.fragments = Fragments(self.render, lambda: self.pool)

    def render(self, stored: Host) -> str:
        self.rendered.append(stored.oid)
        return f"<{stored.name}>"

    def many(self) -> list[bytes]:
        return asyncio.run(self.fragments.many(self.pool.values()))


def test_only_what_changed_is_rendered_again() -> None:
    workshop = Workshop(5)
    assert workshop.many() == [b"&lt;s%d>" % oid for oid in range(5)]
    workshop.rendered.clear()
    workshop.pool[3] = replace(workshop.pool[3], name="renamed")
    assert workshop.many()[3] == b"&lt;renamed>"
    assert workshop.rendered == [3]


def test_one_and_many_share_what_they_render() -> None:
    workshop = Workshop(2)
    assert workshop.fragments.one(workshop.pool[1]) is workshop.many()[1]
    assert workshop.rendered == [1, 0]


def test_fragments_of_objects_that_are_gone_are_forgotten() -> None:
    workshop = Workshop(1000)
    workshop.many()
    for oid in range(10, 1000):
        del workshop.pool[oid]
    workshop.pool[2000] = host(2000)
    workshop.many()
    assert len(workshop.fragments) <= len(workshop.pool)


def test_other_work_goes_on_while_a_large_pool_is_rendered() -> None:
    workshop = Workshop(10 * RENDERED_IN_A_ROW)
    seen: list[int] = []

    async def scenario() -> None:
        async def bystander() -> None:
            while len(seen) < 5:
                seen.append(len(workshop.rendered))
                await asyncio.sleep(0)

        await asyncio.gather(workshop.fragments.many(workshop.pool.values()), bystander())

    asyncio.run(scenario())
    assert seen == sorted(set(seen))
    assert seen[-1] < len(workshop.pool)
