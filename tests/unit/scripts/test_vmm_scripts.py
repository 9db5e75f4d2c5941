"""Hypervisors of the site, written in bash for OpenNebula's convention: on the controller, and on hosts through a
stand-in for ssh."""

from __future__ import annotations

import asyncio
import base64
import shutil
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from holdfast.api.views import render_datastore, render_vm
from holdfast.drivers.script_files import ScriptFiles
from holdfast.drivers.script_runs import ScriptRuns
from holdfast.drivers.tm.driver import TmDriver
from holdfast.drivers.vmm.script_orders import Site
from holdfast.drivers.vmm.script_places import OnController, OnHosts
from holdfast.drivers.vmm.scripts import ScriptDriver
from holdfast.drivers.vmm.site_hypervisor import SiteHypervisor, site_hypervisors, unseen
from holdfast.engine.ports import Order
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.errors import TemplateError
from holdfast.model.vm import Vm
from tests.unit.scripts.bashed import DATA, alive, eventually
from tests.unit.vmm.objects import BASIC, a_host, a_stay, a_vm, an_order

HOSTS = (a_host(1, vm_mad="bashed"), a_host(2, vm_mad="bashed"))
TEXT = (
    f'{BASIC}\nDISK=[DISK_ID=2, TYPE=fs, SIZE=1, FORMAT=raw, TARGET="vdc"]\n'
    'NIC=[NIC_ID=0, MAC="02:00:00:00:00:01"]\nSNAPSHOT=[SNAPSHOT_ID=3]'
)


class Bashed:
    """A controller's directory, the hypervisor's state, and the driver over both."""

    def __init__(self, base: Path, local: bool, type_: str = "xml") -> None:
        self.base, self.local, self.type = base, local, type_
        self.state, self.var, self.host_copy = base / "state", base / "var", base / "on-host"
        self.remotes = self.var / "remotes"
        shutil.copytree(DATA / "vmm" / "bashed", self.remotes / "vmm" / "bashed", symlinks=True)
        (self.state / "wishes").mkdir(parents=True)
        self.datastores = base / "datastores"
        self.log: list[str] = []
        self.driver = self.started()

    def started(self) -> ScriptDriver:
        """As a controller has it that has just started."""
        runs = ScriptRuns(self.var, {"BASHED_STATE": str(self.state)})
        files = ScriptFiles(self.remotes, "vmm")
        place = (
            OnController("bashed", files, runs)
            if self.local
            else OnHosts("bashed", self.remotes, self.host_copy, files, runs, self._ssh)
        )
        site = Site(
            SiteHypervisor("bashed", self.type, self.local),
            place,
            self.var / "vms",
            render_vm,
            render_datastore,
            TmDriver(self.datastores, self.var / "vms", "front"),
            lambda vm_id, severity, text: self.log.append(f"{severity} {text}"),
        )
        return ScriptDriver(site, str(self.datastores))

    def _ssh(self, host: str, text: str) -> list[str]:
        return [str(DATA / "bin" / "local_ssh"), "-o", "BatchMode=yes", "--", host, text]

    def wish(self, action: str, word: str) -> None:
        """What the action shall do wrong."""
        (self.state / "wishes" / action).write_text(f"{word}\n")

    @property
    def calls(self) -> list[str]:
        """``action arguments``, in order."""
        path = self.state / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        plain = [line.rpartition("|")[0].replace("|", " ").replace(str(self.datastores), "/ds") for line in lines]
        return [line.replace(f"{self.var}/vms", "/vms") for line in plain]

    def stdin(self, action: str) -> str:
        """What the script last read."""
        text = (self.state / f"stdin.{action}").read_text().strip()
        return base64.b64decode(text).decode() if self.local else text

    def runs_on(self, host: str) -> bool:
        """The VM is there."""
        return (self.state / host / "one-7").exists()

    def order(self, kind: EffectKind, vm: Vm, limit_s: float = 20, **args: object) -> Order:
        """An order for host1; of a migration the other is host2.  The VM's directory was made by its prolog."""
        (self.datastores / "0/7").mkdir(parents=True, exist_ok=True)
        order = an_order(kind, vm, HOSTS[0], limit_s, {name: str(value) for name, value in args.items()})
        return replace(order, other=HOSTS[1] if kind in (EffectKind.VMM_MIGRATE, EffectKind.VMM_CLEANUP) else None)

    def run(self, kind: EffectKind, vm: Vm, limit_s: float = 20, **args: object) -> Answer:
        """Carries it out."""
        return asyncio.run(self.driver.run(self.order(kind, vm, limit_s, **args)))

    def probe(self, kind: EffectKind, vm: Vm) -> Answer | None:
        """Asks what became of it."""
        return asyncio.run(self.driver.probe(self.order(kind, vm)))


@pytest.fixture(params=["on hosts", "on the controller"])
def bashed(tmp_path: Path, request: pytest.FixtureRequest) -> Bashed:
    return Bashed(tmp_path, local=request.param == "on the controller")


@pytest.fixture
def on_hosts(tmp_path: Path) -> Bashed:
    return Bashed(tmp_path, local=False)


def a_running_vm() -> Vm:
    return replace(a_vm(7, TEXT, (a_stay(),)), deploy_id="one-7")


def test_each_order_is_a_script_with_opennebulas_arguments(bashed: Bashed) -> None:
    new, vm = a_vm(7, TEXT, (a_stay(),)), a_running_vm()
    deployed = bashed.run(EffectKind.VMM_DEPLOY, new)
    assert (deployed.ok, deployed.values) == (True, {"DEPLOY_ID": "one-7"})
    assert bashed.run(EffectKind.VMM_REBOOT, vm).ok
    assert bashed.run(EffectKind.VMM_RESET, vm).ok
    created = bashed.run(EffectKind.VMM_SNAPSHOT_CREATE, vm, ITEM=3)
    assert created.values == {"HYPERVISOR_ID": "snap-of-snapshot_create-3"}
    assert bashed.run(EffectKind.VMM_SNAPSHOT_REVERT, vm, ITEM=3, HYPERVISOR_ID="theirs").ok
    assert bashed.run(EffectKind.VMM_SNAPSHOT_DELETE, vm, ITEM=3, HYPERVISOR_ID="theirs").ok
    assert bashed.run(EffectKind.VMM_ATTACH_NIC, vm, ITEM=0).ok
    assert bashed.run(EffectKind.VMM_DETACH_NIC, vm, ITEM=0).ok
    assert bashed.run(EffectKind.VMM_SAVE, vm).ok
    assert bashed.run(EffectKind.VMM_RESTORE, vm).values == {"DEPLOY_ID": "one-7"}
    assert bashed.run(EffectKind.VMM_MIGRATE, vm).values == {"DEPLOY_ID": "one-7"}
    assert bashed.runs_on("host2")
    assert not bashed.runs_on("host1")
    assert bashed.run(EffectKind.VMM_CLEANUP, vm).ok
    assert not bashed.runs_on("host2")
    assert bashed.run(EffectKind.VMM_SHUTDOWN, vm).ok
    assert bashed.run(EffectKind.VMM_SHUTDOWN, vm, HARD="YES").ok
    assert bashed.calls == [
        f"deploy {'/vms' if bashed.local else '/ds/0'}/7/deployment.0 host1 7 host1",
        "reboot one-7 host1 7 host1",
        "reset one-7 host1 7 host1",
        "snapshot_create one-7 3 7 host1",
        "snapshot_revert one-7 theirs 7 host1",
        "snapshot_delete one-7 theirs 7 host1",
        "attach_nic one-7 02:00:00:00:00:01 7 host1",
        "detach_nic one-7 02:00:00:00:00:01 7 host1",
        "save one-7 /ds/0/7/checkpoint host1 7 host1",
        "restore /ds/0/7/checkpoint host1 one-7 7 host1",
        "migrate one-7 host2 host1 7 host1",
        "cancel one-7 host1 7 host1",
        "cancel one-7 host2 7 host2",
        "shutdown one-7 host1 7 host1",
        "cancel one-7 host1 7 host1",
    ]


def test_deploy_reads_the_vm_and_finds_its_files_all_others_read_the_action_data(bashed: Bashed) -> None:
    vm = a_running_vm()
    bashed.run(EffectKind.VMM_DEPLOY, a_vm(7, TEXT, (a_stay(),)))
    assert ElementTree.fromstring(bashed.stdin("deploy")).findtext("ID") == "7"
    directory = bashed.datastores / "0/7"
    assert ElementTree.parse(directory / "vm.xml").findtext("NAME") == "vm7"
    assert ElementTree.parse(directory / "ds.xml").findtext("NAME") == "system0"
    assert (bashed.var / "vms/7/deployment.0").exists()
    bashed.run(EffectKind.VMM_MIGRATE, vm)
    data = ElementTree.fromstring(bashed.stdin("migrate"))
    assert [element.tag for element in data] == [
        *("HOST", "MIGR_HOST", "DEPLOY_ID", "LOCAL_DEPLOYMENT_FILE", "REMOTE_DEPLOYMENT_FILE", "CHECKPOINT_FILE"),
        *("TM_COMMAND", "TM_COMMAND_ROLLBACK", "DISK_TARGET_PATH", "VM", "DATASTORE"),
    ]
    assert [data.findtext(name) for name in ("HOST", "MIGR_HOST", "DEPLOY_ID")] == ["host1", "host2", "one-7"]


def test_a_site_may_want_libvirts_domain_as_the_deployment_file(tmp_path: Path) -> None:
    bashed = Bashed(tmp_path, local=False, type_="qemu")
    assert bashed.run(EffectKind.VMM_DEPLOY, a_vm(7, BASIC, (a_stay(),))).ok
    domain = ElementTree.fromstring(bashed.stdin("deploy"))
    assert (domain.tag, domain.get("type"), domain.findtext("name")) == ("domain", "qemu", "one-7")


def test_a_disk_is_made_before_it_is_attached_and_removed_when_it_could_not_be(bashed: Bashed) -> None:
    secret = 'GRAPHICS=[LISTEN="0.0.0.0", PASSWD="hush1"]\nCONTEXT=[DISK_ID="1", TARGET="hda", SCRIPT="hush2"]'
    vm = replace(a_vm(7, f"{TEXT}\n{secret}", (a_stay(),), "NOTE=hush3"), deploy_id="one-7")
    disk = bashed.datastores / "0/7/disk.2"
    bashed.run(EffectKind.VMM_DEPLOY, vm)
    assert bashed.run(EffectKind.VMM_ATTACH_DISK, vm, ITEM=2).ok
    assert disk.exists()
    words = bashed.calls[-1].split()
    assert words[:5] == ["attach_disk", "one-7", "/ds/0/7/disk.2", "vdc", "2"]
    data = ElementTree.fromstring(base64.b64decode(words[5]))
    assert data.findtext("VM/TEMPLATE/DISK/ATTACH") == "YES"
    shown = data.find("VM")
    assert "hush" not in ElementTree.tostring(data, encoding="unicode"), "a list of processes shows arguments"
    assert shown is not None
    assert shown.findtext("TEMPLATE/GRAPHICS/LISTEN") == "0.0.0.0"
    assert "hush" in bashed.stdin("attach_disk"), "what only the script reads is whole"
    assert bashed.run(EffectKind.VMM_DETACH_DISK, vm, ITEM=2).ok
    assert not disk.exists()
    bashed.wish("attach_disk", "fail")
    failed = bashed.run(EffectKind.VMM_ATTACH_DISK, vm, ITEM=2)
    assert (failed.ok, failed.certain, disk.exists()) == (False, True, False)
    bashed.wish("detach_disk", "fail")
    assert not bashed.run(EffectKind.VMM_DETACH_DISK, vm, ITEM=2).ok


def test_the_cd_rom_of_the_context_is_made_before_each_start(bashed: Bashed) -> None:
    new = a_vm(7, f'{TEXT}\nCONTEXT=[DISK_ID="1", TARGET="hda", SET_HOSTNAME="web"]', (a_stay(),))
    disc = bashed.datastores / "0/7/disk.1"
    assert bashed.run(EffectKind.VMM_DEPLOY, new).ok
    assert disc.exists()
    vm = replace(new, deploy_id="one-7")
    assert bashed.run(EffectKind.VMM_SAVE, vm).ok
    disc.unlink()
    assert bashed.run(EffectKind.VMM_RESTORE, vm).ok
    assert disc.exists()
    lacking = a_vm(7, f'{TEXT}\nCONTEXT=[DISK_ID="1", TARGET="hda", FILES="/nowhere/x"]', (a_stay(),))
    answer = bashed.run(EffectKind.VMM_DEPLOY, lacking)
    assert (answer.ok, answer.certain) == (False, True)
    assert answer.message.startswith("CONTEXT: ")
    assert [call.split()[0] for call in bashed.calls] == ["deploy", "save", "restore"]


def test_a_failed_start_leaves_nothing_and_the_log_tells_it_in_opennebulas_words(bashed: Bashed) -> None:
    bashed.wish("deploy", "once lie")
    answer = bashed.run(EffectKind.VMM_DEPLOY, a_vm(7, TEXT, (a_stay(),)))
    assert (answer.ok, answer.certain, answer.values) == (False, True, {"ABSENT": "YES"})
    assert not bashed.runs_on("host1")
    bashed.log.clear()
    bashed.wish("deploy", "once fail")
    answer = bashed.run(EffectKind.VMM_DEPLOY, a_vm(7, TEXT, (a_stay(),)))
    assert answer.message == "deploy: no luck with deploy"
    code = 255 if bashed.local else 254
    assert bashed.log[3:7] == [
        f"I Command execution fail (exit code: {code}): deploy",
        "I deploy: about to fail",
        "I no luck with deploy",
        "I Failed to execute virtualization driver operation: deploy.",
    ]
    assert bashed.log[7:] == ["I Successfully execute virtualization driver operation: cancel."]


@pytest.mark.parametrize("type_", ["xml", "qemu"])
def test_a_script_on_the_controller_finds_the_deployment_file_that_it_is_given(tmp_path: Path, type_: str) -> None:
    bashed = Bashed(tmp_path, local=True, type_=type_)
    script = bashed.remotes / "vmm/bashed/deploy"
    script.unlink()
    script.write_text('#!/bin/sh\ncp "$1" "$BASHED_STATE/seen"\necho one-$3\n')
    script.chmod(0o755)
    assert bashed.run(EffectKind.VMM_DEPLOY, a_vm(7, BASIC, (a_stay(),))).ok
    assert ElementTree.parse(bashed.state / "seen").getroot().tag == ("VM" if type_ == "xml" else "domain")


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        (r"\033[2J;rm", "\\x1b[2J;rm holds characters that cannot be printed"),
        (r"\377\376", "holds characters that cannot be printed"),
        ("-rf", "-rf begins with - and would be taken for an option"),
        ("x" * 300, "is longer than 256 characters"),
    ],
)
def test_an_id_that_cannot_be_kept_fails_the_start_and_the_host_counts_as_one_where_the_vm_may_run(
    bashed: Bashed, printed: str, said: str
) -> None:
    vm = a_vm(7, TEXT, (a_stay(),))
    bashed.run(EffectKind.VMM_DEPLOY, vm)
    script = bashed.remotes / "vmm/bashed/deploy"
    script.unlink()
    script.write_text(f"#!/bin/sh\nprintf -- '{printed} more'\n")
    script.chmod(0o755)
    answer = bashed.run(EffectKind.VMM_DEPLOY, vm)
    assert (answer.ok, answer.certain, answer.values) == (False, False, {})
    assert answer.message.startswith("deploy: the first word that it printed cannot be the VM's id: ")
    assert answer.message.endswith(said)
    assert not bashed.runs_on("host1"), "it was ended under the name that we know"


def test_a_vm_whose_stored_id_cannot_be_printed_can_still_be_ended(bashed: Bashed) -> None:
    vm = replace(a_running_vm(), deploy_id="\x1b[2J;rm")
    assert bashed.run(EffectKind.VMM_CANCEL, vm).ok
    assert "\\x1b[2J;rm" in bashed.stdin("cancel")


def test_a_script_that_a_signal_ended_says_which(bashed: Bashed) -> None:
    script = bashed.remotes / "vmm/bashed/reboot"
    script.unlink()
    script.write_text("#!/bin/sh\nkill -USR1 $$\n")
    script.chmod(0o755)
    answer = bashed.run(EffectKind.VMM_REBOOT, a_running_vm())
    assert not answer.ok
    if bashed.local:
        assert "I Command execution fail (killed by signal 10 (SIGUSR1)): reboot" in bashed.log


@pytest.mark.parametrize("kind", [EffectKind.VMM_DEPLOY, EffectKind.VMM_MIGRATE])
def test_of_a_script_whose_end_nobody_saw_nothing_is_concluded(bashed: Bashed, kind: EffectKind) -> None:
    bashed.wish(kind.value.rpartition(".")[2], "stubborn")
    answer = bashed.run(kind, a_running_vm(), limit_s=1.2)
    assert (answer.ok, answer.certain, answer.values) == (False, False, {})
    child = int((bashed.state / "child").read_text())
    eventually(lambda: not alive(child))


def test_a_start_that_is_repeated_ends_what_the_one_before_may_have_started(bashed: Bashed) -> None:
    vm = a_vm(7, TEXT, (a_stay(),))
    assert bashed.run(EffectKind.VMM_DEPLOY, vm).ok
    assert bashed.run(EffectKind.VMM_DEPLOY, vm, AGAIN="YES").ok
    assert [call.split()[0] for call in bashed.calls] == ["deploy", "cancel", "deploy"]
    bashed.wish("cancel", "once fail")
    answer = bashed.run(EffectKind.VMM_DEPLOY, vm, AGAIN="YES")
    assert (answer.ok, answer.certain) == (False, False), "it may still run"
    assert [call.split()[0] for call in bashed.calls[3:]] == ["cancel"]


def test_after_a_restart_poll_tells_what_became_of_an_order_and_without_it_the_order_is_repeated(
    bashed: Bashed,
) -> None:
    vm = a_running_vm()
    bashed.run(EffectKind.VMM_DEPLOY, vm)
    bashed.driver = bashed.started()
    assert bashed.probe(EffectKind.VMM_DEPLOY, vm) == Answer(ok=True, values={"DEPLOY_ID": "one-7"})
    assert bashed.probe(EffectKind.VMM_CANCEL, vm) is None
    assert bashed.probe(EffectKind.VMM_SAVE, vm) is None
    (bashed.state / "host1/one-7").unlink()
    assert bashed.probe(EffectKind.VMM_CANCEL, vm) == Answer(ok=True)
    assert bashed.probe(EffectKind.VMM_DEPLOY, vm) is None
    (bashed.remotes / "vmm/bashed/poll").unlink()
    assert bashed.probe(EffectKind.VMM_CANCEL, vm) is None


def test_a_migration_that_was_interrupted_is_not_called_a_failure_and_poll_finds_where_it_went(
    bashed: Bashed,
) -> None:
    vm = a_running_vm()
    bashed.run(EffectKind.VMM_DEPLOY, vm)
    assert bashed.run(EffectKind.VMM_MIGRATE, vm).ok
    bashed.driver = bashed.started()
    assert bashed.probe(EffectKind.VMM_MIGRATE, vm) is None
    assert bashed.run(EffectKind.VMM_MIGRATE, vm).ok
    (bashed.remotes / "vmm/bashed/poll").unlink()
    bashed.probe(EffectKind.VMM_MIGRATE, vm)
    answer = bashed.run(EffectKind.VMM_MIGRATE, vm)
    assert (answer.ok, answer.certain) == (False, False)
    assert "see where it runs, then onevm recover --success or --failure" in answer.message


def test_a_script_that_is_missing_is_named_and_what_is_not_offered_is_said(bashed: Bashed) -> None:
    (bashed.remotes / "vmm/bashed/save").unlink()
    answer = bashed.run(EffectKind.VMM_SAVE, a_running_vm())
    assert answer.message == f"Driver path '{bashed.remotes}/vmm/bashed/save' does not exists"
    answer = bashed.run(EffectKind.VMM_RESIZE, a_running_vm())
    assert answer.message == "vmm.resize is not offered for hosts with scripts of the site's"
    assert answer.certain


def test_hosts_get_their_copy_of_the_scripts_by_themselves_and_again_after_each_change(on_hosts: Bashed) -> None:
    vm = a_running_vm()
    script = on_hosts.host_copy / "vmm/bashed/reboot"
    assert not script.exists()
    on_hosts.run(EffectKind.VMM_REBOOT, vm)
    assert script.read_bytes() == (DATA / "vmm/bashed/action").read_bytes()
    source = on_hosts.remotes / "vmm/bashed/reboot"
    source.unlink()
    source.write_text("#!/bin/sh\necho changed >&2\nexit 9\n")
    source.chmod(0o755)
    assert on_hosts.run(EffectKind.VMM_REBOOT, vm).message == "reboot: changed"
    (on_hosts.host_copy / ".digest").write_text("half a copy\n")
    assert on_hosts.run(EffectKind.VMM_REBOOT, vm).message == "reboot: changed"


def test_a_host_that_cannot_be_reached_is_no_place_where_anything_was_begun(on_hosts: Bashed) -> None:
    away = replace(HOSTS[0], name="unreachable")
    order = replace(on_hosts.order(EffectKind.VMM_DEPLOY, a_vm(7, TEXT, (a_stay(),))), host=away)
    answer = asyncio.run(on_hosts.driver.run(order))
    assert (answer.ok, answer.certain) == (False, True)
    assert "No route to host" in answer.message
    order = replace(on_hosts.order(EffectKind.VMM_CANCEL, a_running_vm()), host=away)
    answer = asyncio.run(on_hosts.driver.run(order))
    assert (answer.ok, answer.certain) == (False, False)


def test_what_a_lost_order_left_running_on_a_host_is_ended_before_the_next_begins(on_hosts: Bashed) -> None:
    on_hosts.wish("reboot", "once stubborn")
    vm = a_running_vm()
    on_hosts.run(EffectKind.VMM_DEPLOY, vm)

    async def story() -> int:
        lost = asyncio.create_task(on_hosts.driver.run(on_hosts.order(EffectKind.VMM_REBOOT, vm)))
        path = on_hosts.state / "child"
        await asyncio.to_thread(eventually, lambda: path.exists() and path.read_text().strip().isdecimal())
        child = int(path.read_text())
        lost.cancel()
        answer = await on_hosts.driver.run(on_hosts.order(EffectKind.VMM_RESET, vm))
        assert answer.ok, answer
        await asyncio.wait({lost})
        return child

    child = asyncio.run(story())
    eventually(lambda: not alive(child))


@pytest.mark.parametrize(
    ("tables", "complaint"),
    [
        ({"kvm": {}}, "vmm_mad.kvm: this driver is built in"),
        ({"a/b": {}}, 'vmm_mad: "a/b" cannot be a driver\'s name'),
        ({"own": {"TYPE": "vbox"}}, 'vmm_mad.own: TYPE is "vbox", it must be xml or kvm or qemu.'),
        ({"own": {"KIND": "xml"}}, "vmm_mad.own: unknown attribute KIND; known are LOCAL, TYPE."),
    ],
)
def test_a_hypervisor_that_is_declared_wrongly_is_refused(tables: dict[str, dict[str, str]], complaint: str) -> None:
    with pytest.raises(TemplateError) as refused:
        site_hypervisors(tables)
    assert refused.value.message.startswith(complaint)


def test_a_declared_hypervisor_has_opennebulas_defaults() -> None:
    assert site_hypervisors({"own": {}, "far": {"local": "YES", "type": "kvm"}}) == {
        "own": SiteHypervisor("own", "xml", False),
        "far": SiteHypervisor("far", "kvm", True),
    }
    assert unseen({"own": {}, "far": {"TYPE": "kvm"}}) == {"own"}
