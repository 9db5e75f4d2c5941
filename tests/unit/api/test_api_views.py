"""The views against replies of a real OpenNebula daemon, and what they do with odd text and secrets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree

from holdfast.api.masking import MASK
from holdfast.api.views import failover as failover_view
from holdfast.api.views import hook as hook_view
from holdfast.api.views import host as host_view
from holdfast.api.views import installation as installation_view
from holdfast.api.views import render_host, render_image, render_vm
from holdfast.api.views import storage as storage_view
from holdfast.api.views import user as user_view
from holdfast.api.views import vm as vm_view
from holdfast.api.views.markup import PERMISSIONS, embedded, text
from holdfast.model.enums import DatastoreType, FailoverState, HistoryAction, HostState, ImageState, ImageType
from holdfast.model.hook import Hook
from holdfast.model.host import Host
from holdfast.model.storage import Datastore, Image
from holdfast.model.template import Template
from holdfast.model.template_xml import parse_xml
from holdfast.model.user import User
from holdfast.model.vm import History, Vm
from holdfast.model.vm_states import LcmState, VmState
from tests.unit.api.world import ANN, execution, failover, history, host, image, proof, vm, vm_with_snapshots

SAMPLES = Path(__file__).parents[2] / "data" / "one"
USERS = {0: User(0, "oneadmin", "")}


def sample(name: str) -> str:
    return (SAMPLES / f"{name}.xml").read_text().strip()


def tree(document: str) -> etree._Element:
    return etree.fromstring(document)


def shape(element: etree._Element) -> object:
    return (element.tag, [shape(child) for child in element])


def template_of(document: str, path: str) -> Template:
    found = tree(document).find(path)
    assert found is not None
    return parse_xml(etree.tostring(found, encoding="unicode"))


def sample_vm(document: str) -> Vm:
    return Vm(
        0,
        0,
        0,
        "t0",
        VmState.ACTIVE,
        LcmState.RUNNING,
        template_of(document, "TEMPLATE"),
        template_of(document, "USER_TEMPLATE"),
        prev_state=VmState.ACTIVE,
        prev_lcm_state=LcmState.RUNNING,
        stime=1795335043,
        deploy_id="s0:t0:dummy",
        last_poll=1795335106,
        monitoring=template_of(document, "MONITORING"),
        history=(
            History(
                0,
                2,
                "s0",
                0,
                100,
                "dummy",
                "dummy",
                stime=1795335134,
                pstime=1795335134,
                petime=1795335134,
                rstime=1795335134,
            ),
        ),
    )


def test_a_vm_is_written_exactly_as_opennebula_writes_it() -> None:
    document = sample("vm_running")
    assert render_vm(sample_vm(document), USERS) == document


def test_a_vm_in_a_list_is_written_as_opennebula_writes_it() -> None:
    listed = tree(sample("vmpool_info"))[2]
    ours = tree(vm_view.short(sample_vm(sample("vm_running")), USERS))
    emptied = ours.find("MONITORING")
    assert emptied is not None
    assert len(emptied)
    emptied.clear()
    assert shape(ours) == shape(listed)
    ours_texts = {child.tag: child.text for child in ours if child.tag != "LAST_POLL"}
    assert ours_texts == {child.tag: child.text for child in listed if child.tag != "LAST_POLL"}


def test_disks_nics_and_graphics_of_a_listed_vm_have_the_fields_that_opennebula_lists() -> None:
    document = sample("vm_running_disk_nic")
    listed = tree(sample("vmpool_info"))[1].find("TEMPLATE")
    template = template_of(document, "TEMPLATE")
    ours = tree(vm_view.short(vm(1, template=template), USERS)).find("TEMPLATE")
    assert listed is not None
    assert ours is not None
    assert etree.tostring(ours) == etree.tostring(listed)


def test_snapshots_of_disks_are_one_element_for_each_disk_that_has_any() -> None:
    document = render_vm(vm_with_snapshots())
    assert [element.findtext("DISK_ID") for element in tree(document).findall("SNAPSHOTS")] == ["0", "2"]
    assert (
        "<SNAPSHOTS><ALLOW_ORPHANS><![CDATA[NO]]></ALLOW_ORPHANS><CURRENT_BASE><![CDATA[3]]></CURRENT_BASE>"
        "<DISK_ID><![CDATA[0]]></DISK_ID><NEXT_SNAPSHOT><![CDATA[4]]></NEXT_SNAPSHOT>"
        "<SNAPSHOT><CHILDREN><![CDATA[1,3]]></CHILDREN><DATE><![CDATA[1795335400]]></DATE><ID><![CDATA[0]]></ID>"
        "<NAME><![CDATA[clean]]></NAME><PARENT><![CDATA[-1]]></PARENT><SIZE><![CDATA[1024]]></SIZE></SNAPSHOT>"
    ) in document
    newest = tree(document).findall("SNAPSHOTS/SNAPSHOT")[2]
    assert {child.tag: child.text for child in newest} == {
        "ACTIVE": "YES",
        "DATE": "1795335600",
        "ID": "3",
        "NAME": "good]]>",
        "PARENT": "0",
        "SIZE": "2048",
    }


def test_snapshots_stand_between_history_and_backups_and_not_in_lists() -> None:
    children = [child.tag for child in tree(vm_view.extended(vm_with_snapshots(), USERS))]
    assert children[-4:] == ["HISTORY_RECORDS", "SNAPSHOTS", "SNAPSHOTS", "BACKUPS"]
    assert "SNAPSHOT" not in vm_view.short(vm_with_snapshots(), USERS)


def test_system_snapshots_are_vectors_of_the_template() -> None:
    found = tree(render_vm(vm_with_snapshots())).findall("TEMPLATE/SNAPSHOT")
    assert [(each.findtext("SNAPSHOT_ID"), each.findtext("ACTION"), each.findtext("NAME")) for each in found] == [
        ("0", None, "before & after"),
        ("1", "CREATE", "snapshot-1"),
    ]


def test_a_vm_that_was_placed_tells_the_transfer_driver_of_its_datastore() -> None:
    plain = vm(0, template=Template([("CPU", "1"), ("VMID", "0")]))
    assert tree(render_vm(plain)).xpath("TEMPLATE/*/text()") == ["1", "dummy", "0"]
    assert tree(render_vm(plain)).findtext("TEMPLATE/TM_MAD_SYSTEM") == "dummy"
    assert tree(render_vm(replace(plain, history=()))).find("TEMPLATE/TM_MAD_SYSTEM") is None
    assert tree(render_vm(vm(0))).xpath("TEMPLATE/TM_MAD_SYSTEM/text()") == ["qcow2"]


def test_a_history_record_tells_all_its_times_its_action_and_who_asked_for_it() -> None:
    record = history(4, action=HistoryAction.DISK_SNAPSHOT_REVERT, etime=9, pstime=1, petime=2, rstime=3, retime=4)
    shown = tree(render_vm(vm(7, history=(replace(record, estime=5, eetime=6, uid=2, gid=1),))))
    found = shown.find("HISTORY_RECORDS/HISTORY")
    assert found is not None
    assert {child.tag: child.text for child in found} == {
        "OID": "7", "SEQ": "4", "HOSTNAME": "s0", "HID": "2", "CID": "0", "STIME": "1795335134", "ETIME": "9",
        "VM_MAD": "dummy", "TM_MAD": "dummy", "DS_ID": "100", "PLAN_ID": "-2", "ACTION_ID": "-1",
        "PSTIME": "1", "PETIME": "2", "RSTIME": "3", "RETIME": "4", "ESTIME": "5", "EETIME": "6",
        "ACTION": "41", "UID": "2", "GID": "1", "REQUEST_ID": "-1",
    }  # fmt: skip


def test_a_list_shows_the_newest_history_record_only() -> None:
    moved = vm(0, history=(History(0, 1, "a", 0, 0, "kvm", "qcow2"), History(1, 2, "b", 0, 0, "kvm", "qcow2")))
    for document in (vm_view.short(moved, USERS), vm_view.extended(moved, USERS)):
        assert tree(document).xpath("HISTORY_RECORDS/HISTORY/HOSTNAME/text()") == ["b"]
    assert tree(vm_view.full(moved, USERS)).xpath("HISTORY_RECORDS/HISTORY/HOSTNAME/text()") == ["a", "b"]


def test_a_host_has_the_elements_of_opennebula() -> None:
    document = sample("host_monitored_sim")
    ours = Host(
        2,
        "s0",
        HostState.MONITORED,
        "sim",
        "dummy",
        prev_state=HostState.MONITORED,
        template=template_of(document, "TEMPLATE"),
        max_cpu=800,
        max_mem=16777216,
        cpu_usage=10,
        mem_usage=65536,
        vms=(0,),
        last_seen=1795335201,
    )
    theirs = tree(document)
    rendered = tree(render_host(ours))
    assert shape(rendered) == shape(theirs)
    for path in ("NAME", "STATE", "PREV_STATE", "CLUSTER", "HOST_SHARE", "VMS", "TEMPLATE"):
        mine, reference = rendered.find(path), theirs.find(path)
        assert mine is not None
        assert reference is not None
        assert etree.tostring(mine) == etree.tostring(reference)
    assert rendered.findtext("MONITORING/CAPACITY/FREE_CPU") == "790"


def test_a_host_that_was_never_heard_has_no_monitoring_record() -> None:
    assert "<MONITORING></MONITORING>" in render_host(host(last_seen=0))
    assert host_view.monitoring(host(last_seen=0)) == ""


@pytest.mark.parametrize("total", ["lots", "-1", "", "9" * 30])
def test_total_capacity_falls_back_to_the_maximum_when_the_host_reports_nonsense(total: str) -> None:
    strange = host(template=Template([("TOTALMEMORY", total)]))
    assert tree(render_host(strange)).findtext("HOST_SHARE/TOTAL_MEM") == "16777216"


def test_fence_passwords_of_a_host_are_never_shown() -> None:
    document = render_host(host())
    assert "geheim" not in document
    assert tree(document).findtext("TEMPLATE/FENCE/PASSWORD") == MASK
    assert tree(document).findtext("TEMPLATE/FENCE/AGENT") == "fence_ipmilan"


@pytest.mark.parametrize("name", ["datastore_system", "datastore_image"])
def test_a_datastore_is_written_exactly_as_opennebula_writes_it(name: str) -> None:
    document = sample(name)
    theirs = tree(document)
    ours = Datastore(
        int(theirs.findtext("ID", "")),
        theirs.findtext("NAME", ""),
        DatastoreType(int(theirs.findtext("TYPE", ""))),
        theirs.findtext("TM_MAD", ""),
        theirs.findtext("DS_MAD", ""),
        theirs.findtext("BASE_PATH", ""),
        total_mb=int(theirs.findtext("TOTAL_MB", "")),
        free_mb=int(theirs.findtext("FREE_MB", "")),
        used_mb=int(theirs.findtext("USED_MB", "")),
        images=tuple(int(each.text or "") for each in theirs.findall("IMAGES/ID")),
        template=template_of(document, "TEMPLATE"),
    )
    assert storage_view.datastore(ours, USERS) == document


def test_an_image_is_written_exactly_as_opennebula_writes_it() -> None:
    ours = Image(
        0,
        "img0",
        101,
        "imgd",
        ImageType.OS,
        ImageState.USED,
        prev_state=ImageState.USED,
        path="/etc/hostname",
        source="dummy_path",
        format="dummy_format",
        size_mb=1024,
        regtime=1795335253,
        vms=(1, 2),
        template=Template([("DEV_PREFIX", "sd")]),
    )
    assert render_image(ours, USERS) == sample("image")


def test_a_cdrom_image_has_the_disk_type_of_a_cdrom() -> None:
    assert tree(render_image(image(type=ImageType.CDROM))).findtext("DISK_TYPE") == "1"


def test_hooks_are_written_exactly_as_opennebula_writes_them() -> None:
    pool = tree(sample("hookpool"))
    hooks = [
        Hook(
            int(each.findtext("ID", "")),
            each.findtext("NAME", ""),
            "state",
            parse_xml(etree.tostring(each.find("TEMPLATE"), encoding="unicode")),
        )
        for each in pool
    ]
    assert f"<HOOK_POOL>{''.join(map(hook_view.short, hooks))}</HOOK_POOL>" == sample("hookpool")
    assert hook_view.full(hooks[1], ()) == sample("hook")


def test_an_execution_record_has_the_elements_of_opennebula() -> None:
    theirs = tree(sample("hooklog_success"))[0]
    assert shape(tree(hook_view.record(execution()))) == shape(theirs)


def test_an_execution_record_escapes_its_command_and_names_host_and_retry_only_when_there_is_one() -> None:
    plain = tree(hook_view.record(execution()))
    assert plain.findtext("EXECUTION_RESULT/COMMAND") == "/hooks/ft & co"
    assert plain.find("REMOTE_HOST") is None
    assert plain.find("RETRY") is None
    retried = tree(hook_view.record(execution(remote_host="s2", retry=True)))
    assert (retried.findtext("REMOTE_HOST"), retried.findtext("RETRY")) == ("s2", "yes")


def test_users_and_groups_are_written_exactly_as_opennebula_writes_them() -> None:
    zeros = "0" * 64
    template = Template([("TOKEN_PASSWORD", zeros)])
    oneadmin = User(0, "oneadmin", zeros, template=template)
    serveradmin = User(1, "serveradmin", zeros, auth_driver="server_cipher", template=template)
    both = [serveradmin, oneadmin]
    hidden = f"<TOKEN_PASSWORD><![CDATA[{zeros}]]>", f"<TOKEN_PASSWORD><![CDATA[{MASK}]]>"
    assert user_view.user(oneadmin, with_digest=True) == sample("user").replace(*hidden)
    assert user_view.users(both, with_digest=True) == sample("userpool").replace(*hidden)
    assert user_view.group(0, both) == sample("group")
    assert shape(tree(user_view.groups(both))) == shape(_without_views(tree(sample("grouppool"))))


def _without_views(pool: etree._Element) -> etree._Element:
    for views in pool.findall("GROUP/TEMPLATE/SUNSTONE"):
        parent = views.getparent()
        assert parent is not None
        parent.remove(views)
    return pool


def test_only_administrators_see_the_digest_of_a_users_secret() -> None:
    assert ANN.password in user_view.user(ANN, with_digest=True)
    assert ANN.password not in user_view.user(ANN, with_digest=False)


def test_cluster_zone_and_raft_are_written_as_opennebula_writes_them() -> None:
    ours = installation_view.cluster(range(14), (0, 1, 2, 100, 101))
    assert ours == sample("cluster").replace("<VNETS><ID>0</ID></VNETS>", "<VNETS></VNETS>")
    assert sample("zone_raftstatus") == installation_view.RAFT
    zone = tree(sample("zone"))
    grpc = zone.find("TEMPLATE/ENDPOINT_GRPC")
    assert grpc is not None
    grpc.getparent().remove(grpc)
    assert installation_view.zone("http://localhost:2633/RPC2") == etree.tostring(zone, encoding="unicode").replace(
        "http://localhost:2633/RPC2", "<![CDATA[http://localhost:2633/RPC2]]>"
    ).replace("<SERVER_POOL/>", "<SERVER_POOL></SERVER_POOL>")


@pytest.mark.parametrize(("period_s", "published"), [(0.2, "1"), (1.0, "1"), (2.5, "3"), (60.0, "60")])
def test_the_beacon_period_is_published_in_whole_seconds_and_never_as_zero(period_s: float, published: str) -> None:
    assert tree(installation_view.configuration(period_s)).findtext("MONITORING_INTERVAL_HOST") == published


def test_a_failover_tells_its_whole_story() -> None:
    ours = tree(failover_view.full(failover(), [proof()], {3: host(3)}))
    assert [child.tag for child in ours] == (
        "ID HID HOSTNAME STATE STATE_STR MODE FORCE PAUSE FENCING REQUESTED_BY STIME ETIME DEADLINE REASON "
        "EVIDENCES PROOFS STEPS VMS"
    ).split()
    assert [ours.findtext(path) for path in ("STATE", "STATE_STR", "MODE", "FORCE", "FENCING", "STIME")] == [
        "5",
        "DONE",
        "migrate",
        "NO",
        "YES",
        "100.250",
    ]
    row = ours.find("VMS/VM")
    assert row is not None
    assert [child.tag for child in row] == (
        "ID NAME STATE FROM TO FROM_HID TO_HID PROOF_ID PLACED STARTED RUNNING ATTEMPTS REASON".split()
    )
    assert (row.findtext("FROM"), row.findtext("TO"), row.findtext("RUNNING")) == ("s2", "s3", "104.400")
    assert ours.findtext("PROOFS/PROOF/RAW") == "Status: OFF"
    assert ours.findtext("STEPS/STEP[2]/STATE") == "DONE"
    assert ours.findtext("EVIDENCES/EVIDENCE/VERDICT") == "SILENT"


def test_a_failover_shows_its_own_proofs_and_the_one_it_relies_on() -> None:
    others = [proof(9, failover_id=4), proof(3, failover_id=-1), proof(1, failover_id=0)]
    assert [each.oid for each in failover_view.proofs_of(failover(), others)] == [1, 3]
    assert failover_view.proofs_of(failover(state=FailoverState.WATCHING, proof_id=-1), others[:2]) == []


def test_permissions_are_nine_bits_from_owner_use_to_other_admin() -> None:
    bits = [child.text for child in tree(PERMISSIONS[0o640])]
    assert bits == ["1", "1", "0", "1", "0", "0", "0", "0", "0"]


@pytest.mark.parametrize("name", ["a<b>&c", "]]>", "tab\tand\nline", "nul\x00 esc\x1b", "\ud800 lone", "größer 😀"])
def test_odd_text_never_breaks_the_document(name: str) -> None:
    odd = vm(0, name=name, template=Template([("A", name), ("B", {"C": name})]), deploy_id=name)
    for document in (vm_view.full(odd, USERS), vm_view.short(odd, USERS), render_host(host(name=name))):
        root = tree(embedded(document).decode().replace("&lt;", "<").replace("]]&gt;", "]]>").replace("&amp;", "&"))
        kept = "".join(mark for mark in name if mark not in "\x00\x1b").replace("\ud800", "")
        assert root.findtext("NAME") == kept


def test_plain_text_escapes_markup_and_drops_what_xml_cannot_carry() -> None:
    assert text("a<b>&\x07c") == "a&lt;b&gt;&amp;c"


def test_an_embedded_document_comes_out_of_an_xml_rpc_string_unchanged() -> None:
    document = "<VM><A><![CDATA[x]]></A>\r\n&amp;</VM>"
    carried = etree.fromstring(b"<string>" + embedded(document) + b"</string>")
    assert carried.text == document
