"""What a live migration does next, from where the domain is: a table of every pair of sights."""

from __future__ import annotations

from itertools import product

import pytest
from lxml import etree

from holdfast.drivers.vmm.domain_orders import ARRIVAL_NAMESPACE, Presence
from holdfast.drivers.vmm.elements import document
from holdfast.drivers.vmm.migration_orders import marked, refuse_incoherent_disks
from holdfast.drivers.vmm.moves import Step, next_step
from holdfast.model.errors import HoldfastError

ABSENT, RUNNING, PAUSED = Presence.ABSENT, Presence.RUNNING, Presence.PAUSED
HALTED, INCOMING, STARTING = Presence.HALTED, Presence.INCOMING, Presence.STARTING
SIGHTS = (None, *Presence)


@pytest.mark.parametrize(
    ("here", "there", "failure", "step"),
    [
        (RUNNING, ABSENT, None, Step.MIGRATE),
        (PAUSED, ABSENT, None, Step.MIGRATE),
        (RUNNING, ABSENT, ": no", Step.STAYED),
        (RUNNING, ABSENT, "", Step.STAYED),
        (RUNNING, INCOMING, None, Step.GO_BACK),
        (RUNNING, INCOMING, ": no", Step.GO_BACK),
        (HALTED, INCOMING, None, Step.GO_BACK),
        (HALTED, ABSENT, None, Step.STAY),
        (HALTED, ABSENT, ": no", Step.STAY),
        (ABSENT, INCOMING, "", Step.ARRIVE),
        (ABSENT, INCOMING, None, Step.GO_BACK),
        (ABSENT, PAUSED, None, Step.ARRIVE),
        (ABSENT, INCOMING, ": no", Step.GO_BACK),
        (ABSENT, RUNNING, "", Step.ARRIVED),
        (HALTED, RUNNING, None, Step.RELEASE_SOURCE),
        (RUNNING, RUNNING, None, Step.TWICE),
        (ABSENT, ABSENT, None, Step.GONE),
        (None, RUNNING, None, Step.WAIT),
        (RUNNING, None, ": no", Step.WAIT),
    ],
)
def test_the_next_step_follows_from_both_sides(
    here: Presence | None, there: Presence | None, failure: str | None, step: Step
) -> None:
    assert next_step(here, there, False, failure) is step


def test_the_guest_goes_on_at_one_side_only_when_it_is_gone_from_the_other() -> None:
    for here, there, busy, failure in product(SIGHTS, SIGHTS, (False, True), (None, "", ": no")):
        step = next_step(here, there, busy, failure)
        if step is Step.ARRIVE:
            assert here is ABSENT
            assert failure == "" or there is PAUSED, "libvirt said that it ended it there, or it has run here"
        if step in (Step.STAY, Step.MIGRATE):
            assert there is ABSENT
        if step in (Step.ARRIVE, Step.STAY, Step.GO_BACK, Step.MIGRATE):
            assert not busy
        if step is Step.RELEASE_SOURCE:
            assert here is not RUNNING
        if step is Step.GO_BACK:
            assert there is not RUNNING
        if step in (Step.ARRIVED, Step.STAYED, Step.GONE):
            assert None not in (here, there)


def test_the_mark_is_made_once_and_known_backing_files_are_dropped() -> None:
    text = "<domain><metadata><a xmlns='b'/></metadata><devices><disk><backingStore/></disk></devices></domain>"
    root = document(marked(marked(text)), "")
    assert len(root.find("metadata")) == 2
    assert root.find("devices/disk/backingStore") is None
    assert len(document(marked("<domain/>"), "").find("metadata")) == 1


def test_the_mark_of_an_earlier_arrival_says_nothing_about_this_one() -> None:
    mark = f"<confirmed xmlns='{ARRIVAL_NAMESPACE}' move='1.2'/>"
    root = document(marked(f"<domain><metadata>{mark}</metadata></domain>"), "")
    assert [etree.QName(child).localname for child in root.find("metadata")] == ["arriving"]


def test_a_disk_with_a_cache_of_its_host_is_not_migrated_as_if_it_were_safe() -> None:
    disk = "<domain><devices><disk>{}<target dev='vda'/><driver cache='{}'/></disk></devices></domain>"
    refuse_incoherent_disks(disk.format("", "none"))
    refuse_incoherent_disks(disk.format("<readonly/>", "writeback"))
    with pytest.raises(HoldfastError, match="vda has cache mode writeback"):
        refuse_incoherent_disks(disk.format("", "writeback"))
