"""The world notices a VM that is live twice, and nothing makes it forget; a migration under way is no such VM."""

from __future__ import annotations

from pathlib import Path

from tests.crash.world import HANDED_OVER, INCOMING, RUNNING, World


def test_a_vm_that_is_live_on_two_hosts_is_noted_for_ever(tmp_path: Path) -> None:
    world = World(tmp_path / "world.json")
    for host_id in (0, 1):
        with world.change() as hosts:
            hosts.create(7, host_id, RUNNING)
    with World(tmp_path / "world.json").change() as hosts:
        hosts.domains.clear()
    assert "VM 7 is live 2 times" in world.look().violations


def test_a_domain_that_is_created_where_it_is_already_is_noted(tmp_path: Path) -> None:
    world = World(tmp_path / "world.json")
    with world.change() as hosts:
        hosts.create(7, 0, RUNNING)
        hosts.create(7, 0, RUNNING)
    assert "VM 7 was created on host 0 where it is already" in world.look().violations


def test_both_ends_of_a_live_migration_are_one_live_vm(tmp_path: Path) -> None:
    world = World(tmp_path / "world.json")
    with world.change() as hosts:
        source, target = hosts.create(7, 0, RUNNING), hosts.create(7, 1, INCOMING)
        source.state = HANDED_OVER
        target.state = RUNNING
    assert world.look().violations == []


def test_a_host_that_is_switched_off_has_no_domains_and_cannot_be_reached(tmp_path: Path) -> None:
    world, switch = World(tmp_path / "world.json"), tmp_path / "power"
    switch.write_text("on", encoding="ascii")
    with world.change() as hosts:
        hosts.power["0"] = str(switch)
        hosts.create(7, 0, RUNNING)
    assert world.reaches(0)
    switch.write_text("off", encoding="ascii")
    assert world.look().domains == []
    assert not world.reaches(0)
