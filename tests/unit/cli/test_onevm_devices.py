"""``onevm``'s commands for disks, NICs and size: the templates that they make, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.cli.onevm import main
from holdfast.model.template_text import parse_text
from tests.unit.cli.scripted_server import Refusal, ScriptedServer, sample

Captured = pytest.CaptureFixture[str]

DISK = 'DISK=[IMAGE_ID="3",TARGET="vdc"]'


@pytest.fixture(autouse=True)
def _one(server: ScriptedServer) -> None:
    server.answers |= {
        "one.imagepool.info": sample("imagepool.xml"),
        "one.vmpool.info": "<VM_POOL><VM><ID>5</ID><NAME>web</NAME></VM></VM_POOL>",
        **dict.fromkeys(("one.vm.attach", "one.vm.detach", "one.vm.attachnic", "one.vm.detachnic", "one.vm.resize"), 5),
        "one.vm.diskresize": 5,
    }


def vector(server: ScriptedServer, method: str, name: str) -> dict[str, str]:
    """The vector that the one call of ``method`` carried."""
    [(vm, text)] = server.asked(method)
    assert vm == 5
    template = parse_text(text)
    assert template.names() == {name}
    return dict(template.section(name))


@pytest.mark.parametrize(
    ("options", "disk"),
    [
        (["-i", "3"], {"IMAGE_ID": "3"}),
        (["--image", "img0"], {"IMAGE_ID": "0"}),
        (["-i", "3", "-t", "vdc"], {"IMAGE_ID": "3", "TARGET": "vdc"}),
        (["-i", "3", "--prefix", "vd"], {"IMAGE_ID": "3", "DEV_PREFIX": "vd"}),
        (
            ["-i3", "--cache", "writeback", "--discard", "unmap"],
            {"IMAGE_ID": "3", "CACHE": "writeback", "DISCARD": "unmap"},
        ),
        (["--size", "8g"], {"TYPE": "fs", "SIZE": "8192"}),
        (["--size", "512", "--format", "qcow2"], {"TYPE": "fs", "SIZE": "512", "FORMAT": "qcow2"}),
        (["--size", "1.5G", "--type", "swap", "-t", "sdb"], {"TYPE": "swap", "SIZE": "1536", "TARGET": "sdb"}),
    ],
)
def test_a_disk_is_described_by_options(
    server: ScriptedServer, capsys: Captured, options: list[str], disk: dict[str, str]
) -> None:
    assert main(["disk-attach", "5", *options]) == 0
    assert vector(server, "one.vm.attach", "DISK") == disk
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("options", "nic"),
    [
        (["-n", "7"], {"NETWORK_ID": "7"}),
        (["--network", "private", "-i", "192.0.2.9"], {"NETWORK": "private", "IP": "192.0.2.9"}),
        (
            ["-n7", "--ip", "2001:db8::9", "--nic_name", "backup"],
            {"NETWORK_ID": "7", "IP": "2001:db8::9", "NAME": "backup"},
        ),
        (["--bridge", "br0", "--model", "virtio"], {"BRIDGE": "br0", "MODEL": "virtio"}),
        (["--bridge", "br0", "--mac", "02:00:C0:00:02:0a"], {"BRIDGE": "br0", "MAC": "02:00:C0:00:02:0a"}),
    ],
)
def test_a_nic_is_described_by_options(
    server: ScriptedServer, capsys: Captured, options: list[str], nic: dict[str, str]
) -> None:
    assert main(["nic-attach", "5", *options]) == 0
    assert vector(server, "one.vm.attachnic", "NIC") == nic
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("options", "text", "enforce"),
    [
        (["--cpu", "2.5"], 'CPU="2.5"', False),
        (["--memory", "8g", "-e"], 'MEMORY="8192"', True),
        (["--vcpu", "4", "--memory", "512", "--cpu", "1", "--enforce"], 'CPU="1"\nVCPU="4"\nMEMORY="512"', True),
    ],
)
def test_a_size_is_described_by_options(
    server: ScriptedServer, capsys: Captured, options: list[str], text: str, enforce: bool
) -> None:
    assert main(["resize", "5", *options]) == 0
    assert server.calls == [("one.vm.resize", (5, text, enforce))]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("command", "method", "rest"),
    [
        ("disk-attach", "one.vm.attach", ()),
        ("nic-attach", "one.vm.attachnic", ()),
        ("resize", "one.vm.resize", (False,)),
    ],
)
def test_a_template_comes_from_a_file_or_standard_input_as_it_is(
    server: ScriptedServer,
    stdin: Callable[[str], None],
    tmp_path: Path,
    command: str,
    method: str,
    rest: tuple[object, ...],
) -> None:
    file = tmp_path / "template"
    file.write_text(DISK, encoding="utf-8")
    assert main([command, "5", "--file", str(file)]) == 0
    assert main([command, "5", "-f", str(file)]) == 0
    stdin(DISK)
    assert main([command, "5"]) == 0
    stdin(DISK)
    assert main([command, "5", "--file", "-"]) == 0
    assert server.calls == [(method, (5, DISK, *rest))] * 4


def test_devices_are_taken_away_and_disks_enlarged_by_number(server: ScriptedServer, capsys: Captured) -> None:
    assert main(["disk-detach", "web", "2", "-v"]) == 0
    assert main(["nic-detach", "5", "1", "-v"]) == 0
    assert main(["disk-resize", "5", "0", "20g", "-v"]) == 0
    assert server.calls[1:] == [
        ("one.vm.detach", (5, 2)),
        ("one.vm.detachnic", (5, 1)),
        ("one.vm.diskresize", (5, 0, "20480")),
    ]
    assert capsys.readouterr() == ("VM 5: Detaching disk\nVM 5: Detaching NIC\nVM 5: resizing disk\n", "")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["disk-attach", "5", "-i", "nothing"], "IMAGE named nothing not found."),
        (["disk-attach", "nobody", "-i", "3"], "VM named nobody not found."),
        (["disk-attach", "5..7", "-i", "3"], "disk-attach takes one VM, 5..7 names 3."),
        (["disk-detach", "5,6", "0"], "VM named 5,6 not found."),
        (["disk-attach", "5"], "No template: give a file, standard input or options that describe the object."),
        (
            ["disk-attach", "5", "-f", "disk.one", "-i", "3", "-t", "vdb"],
            "Give a template file or template options, not both: disk.one and --image, --target.",
        ),
        (["disk-attach", "5", "-f", "missing.one"], "Cannot read missing.one: No such file or directory."),
        (["disk-attach", "5", "-i"], "missing argument: -i IMAGE"),
        (
            ["disk-attach", "5", "--size", "10X"],
            "--size must be a size of at least 1 MB such as 512, 512m or 8g, it is '10X'.",
        ),
        (
            ["disk-attach", "5", "--size", "0"],
            "--size must be a size of at least 1 MB such as 512, 512m or 8g, it is '0'.",
        ),
        (["disk-attach", "5", "--size", "1g", "--type", "ext9"], "--type must be fs or swap, it is 'ext9'."),
        (["disk-attach", "5", "--size", "1g", "--format", "vmdk"], "--format must be raw or qcow2, it is 'vmdk'."),
        (
            ["disk-attach", "5", "-i", "3", "--cache", "fast"],
            "--cache must be default, none, writethrough, writeback, directsync or unsafe, it is 'fast'.",
        ),
        (["disk-attach", "5", "-i", "3", "--discard", "no"], "--discard must be ignore or unmap, it is 'no'."),
        (
            ["disk-attach", "5", "-i", "3", "--size", "1g"],
            "--size describes an empty disk and --image one with content: give one of them.",
        ),
        (
            ["disk-attach", "5", "--target", "vdb", "--type", "fs"],
            "No disk is made of --type and --target: add --image, or --size for an empty one.",
        ),
        (
            ["disk-attach", "5", "-i", "3", "--target", "vdb", "--prefix", "sd"],
            "--target vdb does not begin with --prefix sd: give one of them.",
        ),
        (["disk-attach"], "Command disk-attach requires one parameter to run"),
        (["disk-attach", "5", "6"], "Wrong number of arguments\nThe arguments should be: <vmid>"),
        (["disk-detach", "5"], "Command disk-detach requires 2 parameters to run."),
        (["disk-detach", "5", "vdb"], "A disk is named by its number, not 'vdb'; 'onevm show' lists them."),
        (["disk-detach", "5", "-1"], "invalid option: -1"),
        (
            ["disk-resize", "5", "0", "10X"],
            "<size> must be a size of at least 1 MB such as 512, 512m or 8g, it is '10X'.",
        ),
        (["disk-resize", "5", "0", "-5"], "invalid option: -5"),
        (["disk-resize", "5", "root", "10g"], "A disk is named by its number, not 'root'; 'onevm show' lists them."),
        (["nic-attach", "5"], "No template: give a file, standard input or options that describe the object."),
        (["nic-attach", "5", "-i", "192.0.2.9"], "A NIC with --ip leads nowhere: add --network or --bridge."),
        (
            ["nic-attach", "5", "-n", "7", "-i", "192.0.2"],
            "--ip must be an address such as 192.0.2.10, it is '192.0.2'.",
        ),
        (
            ["nic-attach", "5", "-n", "7", "--mac", "2:0"],
            "--mac must be an address such as 02:00:c0:00:02:0a, it is '2:0'.",
        ),
        (
            ["nic-attach", "5", "-f", "nic.one", "-n", "7"],
            "Give a template file or template options, not both: nic.one and --network.",
        ),
        (["nic-detach", "5", "eth0"], "A NIC is named by its number, not 'eth0'; 'onevm show' lists them."),
        (["resize", "5"], "No template: give a file, standard input or options that describe the object."),
        (["resize", "5", "--cpu", "two"], "--cpu must be a number above 0 such as 0.5 or 2, it is 'two'."),
        (["resize", "5", "--cpu", "0"], "--cpu must be a number above 0 such as 0.5 or 2, it is '0'."),
        (["resize", "5", "--cpu", "nan"], "--cpu must be a number above 0 such as 0.5 or 2, it is 'nan'."),
        (["resize", "5", "--vcpu", "0"], "--vcpu must be at least 1, it is 0."),
        (["resize", "5", "--vcpu", "1.5"], "--vcpu must be a whole number of at least 0, it is '1.5'."),
        (
            ["resize", "5", "--memory", "10X"],
            "--memory must be a size of at least 1 MB such as 512, 512m or 8g, it is '10X'.",
        ),
    ],
)
def test_a_mistake_is_told_in_one_message_and_nothing_is_changed(
    server: ScriptedServer, capsys: Captured, argv: list[str], message: str
) -> None:
    assert main(argv) == 255
    assert capsys.readouterr().err == message + "\n"
    assert all(method.endswith("pool.info") for method in server.methods())


@pytest.mark.parametrize(
    ("argv", "method"),
    [
        (["disk-attach", "99", "-i", "3"], "one.vm.attach"),
        (["disk-detach", "99", "7"], "one.vm.detach"),
        (["disk-resize", "99", "0", "1"], "one.vm.diskresize"),
        (["nic-attach", "99", "--bridge", "br0"], "one.vm.attachnic"),
        (["nic-detach", "99", "0"], "one.vm.detachnic"),
        (["resize", "99", "--cpu", "1"], "one.vm.resize"),
    ],
)
def test_the_servers_refusal_is_passed_on_word_for_word(
    server: ScriptedServer, capsys: Captured, argv: list[str], method: str
) -> None:
    def refused(*arguments: object) -> int:
        raise Refusal(f"[{method}] Error getting virtual machine [99].", 1024, 99)

    server.answers[method] = refused
    assert main(argv) == 255
    assert capsys.readouterr() == ("", f"[{method}] Error getting virtual machine [99].\n")
