"""``oneimage`` and ``onedatastore``: what is printed and what the server is asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.cli.onedatastore import main as onedatastore
from holdfast.cli.oneimage import main as oneimage
from tests.unit.cli.golden import assert_screen
from tests.unit.cli.scripted_server import ScriptedServer, sample

Captured = pytest.CaptureFixture[str]


def test_the_list_of_images(server: ScriptedServer, capsys: Captured) -> None:
    server.answers["one.imagepool.info"] = sample("imagepool.xml")
    assert oneimage(["list"]) == 0
    assert server.calls == [("one.imagepool.info", (-2, -1, -1))]
    assert_screen("oneimage_list", capsys.readouterr().out)


def test_an_image_is_shown_with_the_vms_that_use_it(server: ScriptedServer, capsys: Captured) -> None:
    server.answers |= {
        "one.image.info": sample("image.xml"),
        "one.vmpool.info": sample("vmpool_info.xml").replace("<ETIME>0</ETIME>", "<ETIME>1795350000</ETIME>"),
    }
    assert oneimage(["show", "0"]) == 0
    assert_screen("oneimage_show", capsys.readouterr().out)


def test_an_image_is_created_from_options(server: ScriptedServer, capsys: Captured) -> None:
    server.answers |= {"one.image.allocate": 4, "one.datastorepool.info": sample("datastorepool.xml")}
    options = ["--name", "data", "--size", "8g", "--type", "datablock", "--format", "qcow2", "--persistent"]
    assert oneimage(["create", "-d", "default", *options]) == 0
    template = 'NAME="data"\nSIZE="8192"\nTYPE="DATABLOCK"\nFORMAT="qcow2"\nPERSISTENT="YES"'
    assert server.asked("one.image.allocate") == [(template, 1, False)]
    assert capsys.readouterr().out == "ID: 4\n"


def test_an_image_is_created_from_a_file(server: ScriptedServer, tmp_path: Path) -> None:
    server.answers["one.image.allocate"] = 4
    file = tmp_path / "image"
    file.write_text("NAME=a\nPATH=/x", encoding="utf-8")
    assert oneimage(["create", str(file), "--datastore", "1"]) == 0
    assert server.asked("one.image.allocate") == [("NAME=a\nPATH=/x", 1, False)]


def test_an_image_needs_a_datastore(server: ScriptedServer, capsys: Captured) -> None:
    assert oneimage(["create", "--name", "a", "--path", "/x"]) == 255
    assert capsys.readouterr().err == "Datastore to put the image in is mandatory: --datastore not given\n"
    assert server.calls == []


@pytest.mark.parametrize(
    ("command", "method", "value"),
    [
        ("enable", "one.image.enable", True),
        ("disable", "one.image.enable", False),
        ("persistent", "one.image.persistent", True),
        ("nonpersistent", "one.image.persistent", False),
        ("delete", "one.image.delete", False),
    ],
)
def test_images_are_switched(server: ScriptedServer, command: str, method: str, value: bool) -> None:
    server.answers[method] = 0
    assert oneimage([command, "0,4"]) == 0
    assert server.asked(method) == [(0, value), (4, value)]


def test_the_list_of_datastores(server: ScriptedServer, capsys: Captured) -> None:
    server.answers["one.datastorepool.info"] = sample("datastorepool.xml")
    assert onedatastore(["list"]) == 0
    assert_screen("onedatastore_list", capsys.readouterr().out)


def test_the_list_of_datastores_is_that_of_opennebulas_command(server: ScriptedServer, capsys: Captured) -> None:
    server.answers["one.datastorepool.info"] = (
        "<DATASTORE_POOL><DATASTORE><ID>1</ID><NAME>default</NAME><DS_MAD>fs</DS_MAD><TM_MAD>ssh</TM_MAD>"
        "<TYPE>0</TYPE><STATE>0</STATE><CLUSTERS><ID>0</ID></CLUSTERS><TOTAL_MB>51200</TOTAL_MB>"
        "<FREE_MB>44237</FREE_MB><IMAGES><ID>0</ID><ID>1</ID></IMAGES></DATASTORE>"
        "<DATASTORE><ID>0</ID><NAME>system</NAME><DS_MAD>-</DS_MAD><TM_MAD>ssh</TM_MAD><TYPE>1</TYPE><STATE>0</STATE>"
        "<CLUSTERS><ID>0</ID></CLUSTERS><TOTAL_MB>0</TOTAL_MB><IMAGES/></DATASTORE></DATASTORE_POOL>"
    )
    assert onedatastore(["list"]) == 0
    assert capsys.readouterr().out == (
        "  ID NAME                SIZE AVA CLUSTERS IMAGES TYPE DS      TM      STAT\n"
        "   1 default              50G 86% 0             2 img  fs      ssh     on\n"
        "   0 system                 - -   0             0 sys  -       ssh     on\n".replace("- -   0", "-   - 0")
    )


@pytest.mark.parametrize(
    ("limit", "shown"), [("10240", "10G  0%"), ("20480", "20G 50%"), ("99999999", "50G 86%"), ("0", "0K  0%")]
)
def test_a_limit_is_what_a_datastore_has_at_most(
    server: ScriptedServer, capsys: Captured, limit: str, shown: str
) -> None:
    server.answers["one.datastorepool.info"] = (
        "<DATASTORE_POOL><DATASTORE><ID>1</ID><NAME>default</NAME><TYPE>0</TYPE><STATE>0</STATE><CLUSTERS/>"
        "<TOTAL_MB>51200</TOTAL_MB><FREE_MB>44237</FREE_MB><USED_MB>10240</USED_MB><IMAGES/>"
        f"<TEMPLATE><LIMIT_MB>{limit}</LIMIT_MB></TEMPLATE></DATASTORE></DATASTORE_POOL>"
    )
    assert onedatastore(["list", "--list", "SIZE,AVA"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == shown.split()


def test_a_datastore_is_shown(server: ScriptedServer, capsys: Captured) -> None:
    server.answers["one.datastore.info"] = sample("datastore_image.xml")
    assert onedatastore(["show", "101"]) == 0
    assert_screen("onedatastore_show", capsys.readouterr().out)


def test_a_datastore_is_created_in_a_cluster(
    server: ScriptedServer, stdin: Callable[[str], None], capsys: Captured
) -> None:
    server.answers |= {"one.datastore.allocate": 102, "one.clusterpool.info": sample("clusterpool.xml")}
    stdin("NAME=nfs\nTM_MAD=shared")
    assert onedatastore(["create", "-c", "default"]) == 0
    stdin("NAME=nfs2\nTM_MAD=shared")
    assert onedatastore(["create"]) == 0
    assert server.asked("one.datastore.allocate") == [("NAME=nfs\nTM_MAD=shared", 0), ("NAME=nfs2\nTM_MAD=shared", -1)]
    assert capsys.readouterr().out == "ID: 102\nID: 102\n"


def test_datastores_are_switched_updated_and_deleted(server: ScriptedServer, stdin: Callable[[str], None]) -> None:
    for method in ("enable", "update", "delete"):
        server.answers[f"one.datastore.{method}"] = 100
    stdin("LIMIT_MB=10")
    for argv in (["enable", "100"], ["disable", "100,101"], ["update", "100", "-a"], ["delete", "100", "-v"]):
        assert onedatastore(argv) == 0
    assert server.calls == [
        ("one.datastore.enable", (100, True)),
        ("one.datastore.enable", (100, False)),
        ("one.datastore.enable", (101, False)),
        ("one.datastore.update", (100, "LIMIT_MB=10", 1)),
        ("one.datastore.delete", (100,)),
    ]


def test_a_datastore_is_renamed(server: ScriptedServer) -> None:
    server.answers["one.datastore.rename"] = 100
    assert onedatastore(["rename", "100", "fast"]) == 0
    assert server.calls == [("one.datastore.rename", (100, "fast"))]


def test_an_image_is_copied(server: ScriptedServer, capsys: Captured) -> None:
    server.answers |= {"one.image.clone": 7, "one.datastorepool.info": sample("datastorepool.xml")}
    assert oneimage(["clone", "0", "copy"]) == 0
    assert oneimage(["clone", "0", "other", "-d", "default"]) == 0
    assert server.asked("one.image.clone") == [(0, "copy", -1), (0, "other", 1)]
    assert capsys.readouterr().out == "ID: 7\nID: 7\n"


def test_images_are_changed(server: ScriptedServer, stdin: Callable[[str], None]) -> None:
    for method in ("update", "rename", "chtype", "lock", "unlock", "delete"):
        server.answers[f"one.image.{method}"] = 0
    stdin("DEV_PREFIX=vd")
    for argv in (
        ["update", "0", "-a"],
        ["rename", "0", "alpine"],
        ["chtype", "0,4", "datablock"],
        ["lock", "0"],
        ["lock", "0", "--admin"],
        ["unlock", "0"],
        ["delete", "0", "--force"],
    ):
        assert oneimage(argv) == 0
    assert server.calls == [
        ("one.image.update", (0, "DEV_PREFIX=vd", 1)),
        ("one.image.rename", (0, "alpine")),
        ("one.image.chtype", (0, "DATABLOCK")),
        ("one.image.chtype", (4, "DATABLOCK")),
        ("one.image.lock", (0, 1, False)),
        ("one.image.lock", (0, 3, False)),
        ("one.image.unlock", (0,)),
        ("one.image.delete", (0, True)),
    ]


def test_an_image_can_be_described_in_full_and_its_template_printed_first(
    server: ScriptedServer, capsys: Captured
) -> None:
    server.answers["one.image.allocate"] = 4
    options = ["--name", "web", "--path", "http://host/web.qcow2", "--sha256", "ab12", "--description", "the web"]
    assert oneimage(["create", *options, "--prefix", "vd", "--dry"]) == 0
    assert capsys.readouterr().out == (
        'NAME="web"\nDESCRIPTION="the web"\nPATH="http://host/web.qcow2"\nDEV_PREFIX="vd"\nSHA256="ab12"\n'
    )
    assert server.calls == []
    assert oneimage(["create", *options, "-d", "1", "--no_check_capacity"]) == 0
    assert server.asked("one.image.allocate")[0][1:] == (1, True)
