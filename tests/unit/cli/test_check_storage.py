"""``holdfast check storage``: the screen, the formats and the exit codes."""

from __future__ import annotations

import json

import pytest

from holdfast.cli.holdfast import main
from tests.unit.cli.golden import assert_screen
from tests.unit.cli.scripted_server import ScriptedServer

Captured = pytest.CaptureFixture[str]
FINDING = (
    "<FINDING><KIND>{kind}</KIND><DATASTORE_ID>{ds}</DATASTORE_ID><HOST>{host}</HOST><PATH>{path}</PATH>"
    "<SIZE_BYTES>{size}</SIZE_BYTES><VM_ID>{vm}</VM_ID><IMAGE_ID>{image}</IMAGE_ID><REASON>{reason}</REASON></FINDING>"
)
UNSEEN = (
    "<UNSEEN><DATASTORE_ID>100</DATASTORE_ID><HOST>host3</HOST><PATH>/var/lib/holdfast/datastores/100</PATH>"
    "<REASON>the host is lost</REASON></UNSEEN>"
)


def finding(kind: str, path: str, reason: str, ds: int = 0, host: str = "", size: int = 0, **whose: int) -> str:
    vm, image = whose.get("vm", -1), whose.get("image", -1)
    return FINDING.format(kind=kind, path=path, reason=reason, ds=ds, host=host, size=size, vm=vm, image=image)


def report(*findings: str, unseen: str = "", busy: str = "") -> str:
    return (
        f"<STORAGE_CHECK><PLACES>4</PLACES><FINDINGS>{''.join(findings)}</FINDINGS>"
        f"<UNSEEN_PLACES>{unseen}</UNSEEN_PLACES><BUSY>{busy}</BUSY></STORAGE_CHECK>"
    )


ONE_OF_EACH = (
    finding("MISSING", "/var/lib/holdfast/datastores/0/7/disk.0", "it does not exist", vm=7),
    finding("MISSING", "/var/lib/holdfast/datastores/1/6b02c6f2", "it does not exist", ds=1, image=3),
    finding("ORPHAN", "/var/lib/holdfast/datastores/0/99", "there is no such VM", size=512 << 20, vm=99),
    finding(
        "STRAY",
        "/var/lib/holdfast/datastores/100/7",
        "the VM's files are on host2: this is an old copy, or the same storage seen from here",
        100,
        "host1",
        8192,
        vm=7,
    ),
    finding("REMNANT", "/var/lib/holdfast/datastores/1/def.draft.0a", "an interrupted step left it", 1, size=4096),
)


def test_findings_are_listed_with_their_paths(server: ScriptedServer, capsys: Captured) -> None:
    server.answers["one.storage.check"] = report(*ONE_OF_EACH, unseen=UNSEEN, busy="<ID>5</ID><ID>8</ID>")
    assert main(["check", "storage"]) == 1
    assert_screen("check_storage", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("document", "code", "said"),
    [
        (report(), 0, "4 directories looked through: nothing found.\n"),
        (report(unseen=UNSEEN), 2, "NOT SEEN datastore 100 on host3\n"),
        (report(ONE_OF_EACH[0], unseen=UNSEEN), 1, "MISSING  datastore 0, VM 7: it does not exist\n"),
    ],
)
def test_the_exit_code_tells_clean_found_and_not_seen(
    server: ScriptedServer, capsys: Captured, document: str, code: int, said: str
) -> None:
    server.answers["one.storage.check"] = document
    assert main(["check", "storage"]) == code
    assert said in capsys.readouterr().out


def test_programs_get_the_report_in_their_format(server: ScriptedServer, capsys: Captured) -> None:
    server.answers["one.storage.check"] = report(ONE_OF_EACH[2], busy="<ID>5</ID>")
    assert main(["check", "storage", "-j"]) == 1
    content = json.loads(capsys.readouterr().out)["STORAGE_CHECK"]
    assert content["FINDINGS"]["FINDING"][0]["KIND"] == "ORPHAN"
    assert content["BUSY"]["ID"] == ["5"]
    assert main(["check", "storage", "--xml"]) == 1
    assert "<KIND>ORPHAN</KIND>" in capsys.readouterr().out


def test_a_controller_that_does_not_answer_has_not_looked(capsys: Captured) -> None:
    assert main(["check", "storage", "--endpoint", "http://127.0.0.1:9/RPC2"]) == 2
    assert "127.0.0.1:9" in capsys.readouterr().err


def test_the_help_is_plain_text(capsys: Captured) -> None:
    for words in (["check", "storage", "--help"], ["--help"]):
        with pytest.raises(SystemExit):
            main(words)
        assert "``" not in capsys.readouterr().out
