"""A hypervisor of the site on hosts behind real SSH servers, which have files of their own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.drivers.vmm.script_places import openssh
from holdfast.model.enums import EffectKind
from tests.unit.scripts.bashed import eventually
from tests.unit.scripts.test_vmm_scripts import TEXT, Bashed, a_running_vm
from tests.unit.tm.ssh_hosts import SshHost, a_client, running
from tests.unit.vmm.objects import a_stay, a_vm


class OverSsh(Bashed):
    """Host1, behind its server."""

    def __init__(self, base: Path) -> None:
        (base / "datastores").mkdir()
        self.host1 = SshHost(base, "host1", base / "datastores")
        self.host1.configure(SetEnv=f"BASHED_STATE={base / 'state'}")
        a_client(base, self.host1)
        self._words = openssh(base / "ssh_config")
        super().__init__(base, local=False)

    def _ssh(self, host: str, text: str) -> list[str]:
        return list(self._words(host, text))


@pytest.fixture
def far(tmp_path: Path) -> Iterator[OverSsh]:
    made = OverSsh(tmp_path)
    with running(made.host1):
        yield made


def test_a_vm_lives_and_ends_and_its_files_are_the_hosts_own(far: OverSsh) -> None:
    assert far.run(EffectKind.VMM_DEPLOY, a_vm(7, TEXT, (a_stay(),))).values == {"DEPLOY_ID": "one-7"}
    assert far.host1.files() == ["ds.xml", "vm.xml"]
    assert not list((far.datastores / "0/7").iterdir())
    vm = a_running_vm()
    assert far.run(EffectKind.VMM_SAVE, vm).ok
    assert "checkpoint" in far.host1.files()
    assert far.run(EffectKind.VMM_RESTORE, vm).ok
    far.wish("reboot", "once fail")
    assert far.run(EffectKind.VMM_REBOOT, vm).message == "reboot: no luck with reboot"
    assert far.run(EffectKind.VMM_CANCEL, vm).ok
    assert not far.runs_on("host1")


def test_a_host_that_dies_or_does_not_answer_leaves_the_outcome_open(far: OverSsh) -> None:
    far.wish("deploy", "once slow")
    vm = a_vm(7, TEXT, (a_stay(),))

    async def story() -> None:
        deploying = asyncio.create_task(far.driver.run(far.order(EffectKind.VMM_DEPLOY, vm)))
        await asyncio.to_thread(eventually, lambda: bool(far.calls))
        await asyncio.to_thread(far.host1.stop)
        answer = await deploying
        assert (answer.ok, answer.certain, answer.values) == (False, False, {})

    began = time.monotonic()
    asyncio.run(story())
    assert time.monotonic() - began < 15, "a connection that is gone is not waited for"
    answer = far.run(EffectKind.VMM_CANCEL, a_running_vm())
    assert (answer.ok, answer.certain) == (False, False)
    assert "Connection refused" in answer.message


def test_what_runs_on_the_host_past_its_time_is_ended_there(far: OverSsh) -> None:
    far.wish("reboot", "stubborn")
    answer = far.run(EffectKind.VMM_REBOOT, a_running_vm(), limit_s=2)
    assert (answer.ok, answer.certain) == (False, False)
    eventually(lambda: not far.host1.find("vmm/bashed/reboot"))
