"""The site's transfer drivers before and after a live migration."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.drivers.tm.around_migrations import AroundMigrations
from holdfast.drivers.vmm.dummy import DummyDriver, Ending, Outcome, Script
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from tests.unit.scripts.bashed import BashedSite
from tests.unit.vmm.objects import a_host, a_stay, an_order


@pytest.fixture
def site(tmp_path: Path) -> BashedSite:
    return BashedSite(tmp_path)


def migrate(site: BashedSite, system: str = "bashed", outcome: Outcome | None = None) -> Answer:
    script = Script({EffectKind.VMM_MIGRATE: [outcome]} if outcome else {})
    vm = site.vm(a_stay(tm_mad=system), a_stay(2, 1, 0, system))
    told: list[str] = []
    driver = AroundMigrations(
        DummyDriver(script),
        site.driver,
        lambda name: name == "bashed",
        str(site.root),
        lambda vm_id, severity, text: told.append(f"{severity} {text}"),
    )
    order = replace(an_order(EffectKind.VMM_MIGRATE, vm, a_host(1), 1.5), other=a_host(2))
    answer = asyncio.run(driver.run(order))
    site.log[:] = told
    return answer


def called(site: BashedSite) -> list[str]:
    return [call.rpartition("|")[0].replace(str(site.root), "/ds").replace("|", " ") for call in site.calls]


def test_premigrate_comes_before_and_postmigrate_after_a_migration(site: BashedSite) -> None:
    assert migrate(site).ok
    assert called(site) == ["premigrate host1 host2 /ds/0/7 7 0", "postmigrate host1 host2 /ds/0/7 7 0"]


def test_where_the_system_datastore_has_a_built_in_driver_those_of_the_disks_are_asked(site: BashedSite) -> None:
    assert migrate(site, "shared").ok
    assert called(site) == ["premigrate host1 host2 /ds/0/7 7 0 shared", "postmigrate host1 host2 /ds/0/7 7 0 shared"]


def test_nothing_is_migrated_when_premigrate_fails(site: BashedSite) -> None:
    site.wish("premigrate", "fail")
    answer = migrate(site)
    assert (answer.ok, answer.certain, answer.message) == (False, True, "premigrate: no luck with premigrate")
    assert [call.split()[0] for call in called(site)] == ["premigrate", "failmigrate"]


def test_a_migration_that_failed_is_followed_by_failmigrate(site: BashedSite) -> None:
    assert not migrate(site, outcome=Outcome(Ending.FAILURE)).ok
    assert [call.split()[0] for call in called(site)] == ["premigrate", "failmigrate"]


def test_nothing_is_taken_back_while_nobody_knows_where_the_guest_is(site: BashedSite) -> None:
    answer = migrate(site, outcome=Outcome(Ending.SILENCE))
    assert (answer.ok, answer.certain) == (False, False)
    assert [call.split()[0] for call in called(site)] == ["premigrate"]


def test_a_postmigrate_that_fails_undoes_nothing_and_is_in_the_vms_log(site: BashedSite) -> None:
    site.wish("postmigrate", "fail")
    assert migrate(site).ok
    assert site.log == ["E POSTMIGRATE failed: no luck with postmigrate"]
