"""Beacons are not stored, yet who asks about a host learns when it was last heard."""

from __future__ import annotations

import asyncio

import pytest
from lxml import etree

from holdfast.api.responder import Responder
from holdfast.api.views.rendered import Views
from holdfast.model.template import Template
from tests.unit.api.world import ADMIN_SESSION, FakeController, call_body, host, installation, reply_values

STORED = 1795335201


@pytest.fixture
def controller() -> FakeController:
    """An installation whose host 2 says something of its own about a time."""
    world = installation()
    world.put(host(2, last_seen=STORED, template=Template([("TIMESTAMP", str(STORED))])))
    return world


def times(controller: FakeController, method: str) -> list[str | None]:
    """What the reply says about the template's attribute, if it is there, and the monitoring record."""
    body = call_body(method, ADMIN_SESSION, 2)
    document = reply_values(b"".join(asyncio.run(Responder(controller).reply(body))))[1]
    return [element.text for element in etree.fromstring(str(document)).iter("TIMESTAMP")]


def test_the_time_of_monitoring_advances_while_nothing_about_the_host_changes(controller: FakeController) -> None:
    for heard in (STORED + 7.9, STORED + 8.9):
        controller.heard[2] = heard
        assert times(controller, "one.host.info") == [str(STORED), str(int(heard))]
        assert times(controller, "one.host.monitoring") == [str(int(heard))]


def test_a_host_that_was_not_heard_since_the_start_has_the_time_that_is_stored(controller: FakeController) -> None:
    assert times(controller, "one.host.info") == [str(STORED), str(STORED)]


def test_a_host_that_was_never_heard_has_no_time(controller: FakeController) -> None:
    controller.put(host(2, last_seen=0))
    controller.heard[2] = STORED
    assert times(controller, "one.host.info") == []


def test_the_host_is_not_rendered_again_for_it(controller: FakeController) -> None:
    views = Views(controller)
    kept = views.hosts.one(controller.state.hosts[2])
    controller.heard[2] = STORED + 60
    assert views.host(controller.state.hosts[2]) != kept
    assert views.hosts.one(controller.state.hosts[2]) is kept
