"""Drivers of the site under the real controller: a VM on their datastores is deployed, fails, and is repaired."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from holdfast.model.vm_states import LcmState
from tests.e2e.daemon import Daemon, until
from tests.unit.drivers.test_process import alive

DATA = Path(__file__).parents[1] / "data" / "remotes"
TM_MAD_CONF = {
    "tm_mad_conf.bashed.LN_TARGET": "NONE",
    "tm_mad_conf.bashed.CLONE_TARGET": "SYSTEM",
    "tm_mad_conf.bashed.SHARED": "YES",
}
PROLOG_FAILURE, RUNNING, DONE = (("3", str(LcmState.PROLOG_FAILURE.value)), ("3", "3"), ("6", "0"))

BOOT_FAILURE = ("3", str(LcmState.BOOT_FAILURE.value))


class Stage:
    """A controller whose site has the transfer driver ``bashed``, datastores of it, an image and a dummy host."""

    def __init__(self, base: Path, settings: Mapping[str, str] | None = None) -> None:
        self.daemon = Daemon(base / "controller", {**TM_MAD_CONF, **(settings or {})})
        remotes = self.daemon.var / "remotes"
        shutil.copytree(DATA / "vmm" / "bashed", remotes / "vmm" / "bashed", symlinks=True)
        self.folder = remotes / "tm" / "bashed"
        shutil.copytree(DATA / "tm" / "bashed", self.folder, symlinks=True)
        (self.folder / "wishes").mkdir()
        etc = self.daemon.var / "one" / "etc"
        etc.mkdir(parents=True)
        (etc / "tmrc").write_text(f"SSH={DATA / 'bin' / 'local_ssh'}\nBASHED_STATE={base / 'state'}\n")
        self.daemon.start()
        self.host = self.daemon.host("kvm1")
        self.images = self._datastore('NAME="images"\nTYPE="IMAGE_DS"\nDS_MAD="fs"\nTM_MAD="bashed"')
        self.system = self._datastore('NAME="disks"\nTYPE="SYSTEM_DS"\nTM_MAD="bashed"')
        content = base / "content"
        content.write_bytes(os.urandom(1 << 20))
        self.content = content.read_bytes()
        template = f'NAME="image"\nTYPE="OS"\nPATH="{content}"\nDEV_PREFIX="vd"'
        image = int(self.daemon.api.call("one.image.allocate", template, self.images, False))
        until(lambda: self.daemon.api.xml("one.image.info", image).findtext("STATE") == "1", what="the image")

    def _datastore(self, template: str) -> int:
        oid = int(self.daemon.api.call("one.datastore.allocate", template, -1))
        (self.daemon.var / "datastores" / str(oid)).mkdir()
        return oid

    def wish(self, action: str, word: str) -> None:
        """What the action shall do wrong."""
        (self.folder / "wishes" / action).write_text(f"{word}\n")

    def vm(self) -> int:
        """A VM with a copy of the image and a volatile disk, on its way to the host."""
        template = 'NAME="web"\nCPU="1"\nMEMORY="64"\nDISK=[IMAGE_ID="0"]\nDISK=[TYPE="fs", SIZE="1", FORMAT="raw"]'
        vm_id = int(self.daemon.api.call("one.vm.allocate", template, True))
        self.daemon.api.call("one.vm.deploy", vm_id, self.host, False, self.system, "")
        return vm_id

    def wait(self, vm_id: int, wanted: tuple[str, str]) -> None:
        """Returns when the VM is there."""
        until(lambda: self.daemon.vm_at(vm_id)[:2] == wanted, what=f"VM {vm_id} in {wanted}")

    def disk(self, vm_id: int) -> bytes:
        """What its first disk holds."""
        return (self.daemon.var / "datastores" / str(self.system) / str(vm_id) / "disk.0").read_bytes()

    def actions(self) -> list[str]:
        """The scripts that were called for VMs, in order."""
        called = [line.partition("|")[0] for line in (self.folder / "calls").read_text().splitlines()]
        return [action for action in called if action != "monitor"]

    def process(self, name: str) -> int:
        """The number of a process that told it."""
        path = self.folder / name
        until(lambda: path.exists() and path.read_text().strip().isdecimal(), what=name)
        return int(path.read_text())

    def error(self, vm_id: int) -> str:
        """What ``onevm show`` says went wrong."""
        return self.daemon.api.xml("one.vm.info", vm_id).findtext("USER_TEMPLATE/ERROR", "")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    try:
        yield made
    finally:
        made.daemon.close()


def test_a_vm_on_a_custom_driver_fails_says_why_and_is_recovered_with_retry(stage: Stage) -> None:
    stage.wish("mkimage", "once fail")
    stage.wish("clone", "ask")
    vm_id = stage.vm()
    stage.wait(vm_id, PROLOG_FAILURE)
    assert "no luck with mkimage" in stage.error(vm_id)
    stage.daemon.done("onevm", "recover", str(vm_id), "--retry")
    stage.wait(vm_id, RUNNING)
    assert stage.disk(vm_id) == stage.content
    assert stage.actions() == ["clone", "mkimage", "clone", "mkimage"]
    source = stage.daemon.api.xml("one.image.info", 0).findtext("SOURCE", "")
    asked = (stage.folder / "asked").read_text().splitlines()
    assert asked == [f"1 kvm1 {source} bashed bashed SYSTEM image 5"] * 2, "the commands answer during the prolog"
    stage.daemon.done("onevm", "terminate", "--hard", str(vm_id))
    stage.wait(vm_id, DONE)
    assert stage.actions()[4:] == ["delete", "delete", "delete"]
    assert not (stage.daemon.var / "datastores" / str(stage.system) / str(vm_id)).exists()


def test_a_failed_transfer_of_a_custom_driver_is_repaired_line_by_line(stage: Stage) -> None:
    stage.wish("mkimage", "once fail")
    vm_id = stage.vm()
    stage.wait(vm_id, PROLOG_FAILURE)
    stage.wish("mkimage", "once fail")
    dialogue = stage.daemon.done("onevm", "recover", str(vm_id), "--retry", "--interactive", stdin="r\nr\nr\n")
    for said in ("mkimage: about to fail", "no luck with mkimage", "FAILURE. Repeat command."):
        assert said in dialogue, dialogue
    assert dialogue.count("SUCCESS") == 2
    assert stage.actions() == ["clone", "mkimage", "clone", "mkimage", "mkimage"]
    stage.daemon.done("onevm", "recover", str(vm_id), "--success")
    stage.wait(vm_id, RUNNING)
    assert stage.disk(vm_id) == stage.content


def test_the_drivers_script_says_how_full_its_system_datastore_is(stage: Stage) -> None:
    def sizes() -> list[str]:
        datastore = stage.daemon.api.xml("one.datastore.info", stage.system)
        return [datastore.findtext(name, "") for name in ("TOTAL_MB", "FREE_MB", "USED_MB")]

    until(lambda: sizes() == ["100", "70", "30"], what="the figures")
    assert "70%" in stage.daemon.done("onedatastore", "list", "-f", "NAME=disks")


def test_retry_ends_a_script_that_hangs_with_its_stubborn_children_and_so_does_the_controllers_stop(
    stage: Stage,
) -> None:
    stage.wish("clone", "once stubborn")
    vm_id = stage.vm()
    first = stage.process("child")
    stage.daemon.done("onevm", "recover", str(vm_id), "--retry")
    stage.wait(vm_id, RUNNING)
    until(lambda: not alive(first), what="the end of the first script")
    assert stage.disk(vm_id) == stage.content

    (stage.folder / "child").unlink()
    stage.wish("clone", "once stubborn")
    second = stage.vm()
    child, parent = stage.process("child"), stage.process("parent")
    assert stage.daemon.stop() == 0
    until(lambda: not alive(child) and not alive(parent), what="the end of its scripts")
    stage.daemon.start()
    stage.wait(second, RUNNING)
    assert stage.disk(second) == stage.content


def test_a_killed_controller_ends_its_old_script_before_it_does_the_step_again(stage: Stage) -> None:
    stage.wish("clone", "once escape")
    vm_id = stage.vm()
    child = stage.process("child")
    stage.daemon.kill()
    assert alive(child)
    stage.daemon.start()
    stage.wait(vm_id, RUNNING)
    assert not alive(child)
    assert stage.disk(vm_id) == stage.content
    assert stage.actions() == ["clone", "clone", "mkimage"]


def test_no_secret_is_in_the_arguments_or_the_environment_of_a_script(stage: Stage) -> None:
    stage.wish("clone", "once slow")
    vm_id = stage.vm()
    until(lambda: "clone" in stage.actions(), what="the script")
    secret = stage.daemon.auth_path.read_text().strip().partition(":")[2]
    seen = 0
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            try:
                environment, words = (process / "environ").read_bytes(), (process / "cmdline").read_bytes()
            except OSError:
                continue
            if f"HOLDFAST_RUN={stage.daemon.var}:{vm_id}:".encode() in environment:
                seen += 1
                assert secret.encode() not in environment + words
    assert seen
    assert stage.daemon.stop() == 0


def test_a_vm_lives_on_a_hypervisor_of_the_site_fails_and_is_recovered(tmp_path: Path) -> None:
    stage = Stage(tmp_path, {"vmm_mad.bashed.LOCAL": "YES"})
    try:
        daemon, state = stage.daemon, tmp_path / "state"
        second = daemon.host("kvm2", vm_mad="bashed")
        stage.host = daemon.host("kvm3", vm_mad="bashed")
        (state / "wishes").mkdir(parents=True)
        (state / "wishes/deploy").write_text("once fail\n")
        vm_id = stage.vm()
        stage.wait(vm_id, BOOT_FAILURE)
        assert "no luck with deploy" in stage.error(vm_id)
        daemon.done("onevm", "recover", str(vm_id), "--retry")
        stage.wait(vm_id, RUNNING)
        assert (state / f"kvm3/one-{vm_id}").exists()
        daemon.done("onevm", "migrate", "--live", str(vm_id), str(second))
        daemon.wait_for_vm(vm_id, second)
        assert (state / f"kvm2/one-{vm_id}").exists()
        assert stage.actions() == ["clone", "mkimage", "premigrate", "postmigrate"]
        daemon.done("onevm", "poweroff", str(vm_id))
        stage.wait(vm_id, ("8", "0"))
        assert not (state / f"kvm2/one-{vm_id}").exists()
        log = (daemon.var / "log" / f"{vm_id}.log").read_text()
        assert "[VMM][I]: Failed to execute virtualization driver operation: deploy." in log
        assert "[VMM][I]: Successfully execute virtualization driver operation: migrate." in log
    finally:
        stage.daemon.close()
