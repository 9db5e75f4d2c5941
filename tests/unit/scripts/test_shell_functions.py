"""scripts_common.sh, tm_common.sh, libfs.sh and xpath.rb, run by bash as a driver's script runs them."""

from __future__ import annotations

import base64
import subprocess
import sys
import time
from pathlib import Path

import pytest

from holdfast.drivers.script_output import script_output
from holdfast.serve.config import Config
from holdfast.serve.one_location import OneLocation
from holdfast.serve.remotes import install
from tests.unit.scripts.bashed import DATA

XML = (
    "<VM><ID>7</ID><TEMPLATE><DISK><DISK_ID>0</DISK_ID><SIZE>64</SIZE><TM_MAD>own</TM_MAD></DISK>"
    "<DISK><DISK_ID>10</DISK_ID><SIZE><![CDATA[128]]></SIZE><TM_MAD>ssh</TM_MAD></DISK></TEMPLATE><HISTORY_RECORDS>"
    "<HISTORY><HOSTNAME>host1</HOSTNAME></HISTORY><HISTORY><HOSTNAME>host2</HOSTNAME></HISTORY></HISTORY_RECORDS></VM>"
)


class Shell:
    """Runs text as a script that has sourced the common functions."""

    def __init__(self, base: Path) -> None:
        self.base = base
        config = Config(var=base / "var")
        install(config.var / "remotes")
        location = OneLocation(config)
        location.prepare()
        self.environment = {**location.environment("http://x/RPC2"), "SSH": str(DATA / "bin" / "local_ssh")}
        self.remotes = config.var / "remotes"

    def __call__(self, text: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        script = self.base / "script"
        script.write_text(f'. "$ONE_LOCATION/var/remotes/tm/tm_common.sh"\n{text}\n')
        return subprocess.run(
            ["bash", script], env=self.environment, input=stdin, capture_output=True, text=True, timeout=30, check=False
        )

    def prints(self, text: str) -> str:
        done = self(text)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.strip()

    def xpath(self, *words: str, stdin: str = XML, **environment: str) -> tuple[int, list[str]]:
        program = [str(self.remotes / "datastore/xpath.rb"), *words]
        done = subprocess.run(
            program, env={**self.environment, **environment}, input=stdin, capture_output=True, text=True, check=False
        )
        assert not done.stderr, done.stderr
        return done.returncode, done.stdout.split("\0")[:-1]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_messages_carry_severity_and_script_and_the_error_is_found_whole(shell: Shell) -> None:
    done = shell('log "one"; log_debug two; log_error "th\nree"; log_warn four; error_message "the\nreason"')
    output = script_output(done.stderr.encode())
    assert [(line.severity, line.text) for line in output.lines[:4]] == [
        ("I", "script: one"),
        ("D", "script: two"),
        ("E", "script: th ree"),
        ("W", "script: four"),
    ]
    assert output.error == "the reason"


@pytest.mark.parametrize(
    "call",
    [
        "exec_and_log 'echo secretly; echo why >&2; exit 5' '{}'",
        "multiline_exec_and_log 'echo why >&2\n(exit 5) | cat\necho not reached > reached' '{}'",
        "ssh_exec_and_log host1 'echo secretly; echo why >&2; exit 5' '{}'",
        "ssh_monitor_and_log host1 'echo secretly; echo why >&2; exit 5' '{}'",
        "timeout_exec_and_log 5 'echo why >&2; exit 5' '{}'",
    ],
)
def test_a_command_that_fails_ends_the_script_with_its_code_and_its_words(shell: Shell, call: str) -> None:
    done = shell(f"{call.format('No luck')}\necho still here")
    assert done.returncode == 5
    assert done.stdout == ""
    output = script_output(done.stderr.encode())
    assert output.error == "No luck"
    assert "failed: why" in output.lines[0].text
    said = shell(call.format("")).stderr
    assert "why" in script_output(said.encode()).error
    assert not (shell.base / "reached").exists()


def test_a_command_that_succeeds_lets_the_script_go_on_and_says_nothing(shell: Shell) -> None:
    assert shell.prints("exec_and_log 'echo out; echo err >&2'; ssh_exec_and_log h 'echo out'; echo on") == "on"
    assert shell.prints("ssh_monitor_and_log h 'echo out; echo err >&2'") == "out"
    assert shell.prints('exec_and_set_error true; echo "[$ERROR]"') == "[]"
    done = shell('exec_and_set_error "echo why >&2; false" "no"; echo "[$ERROR]"')
    assert (done.returncode, done.stdout) == (0, "[no]\n")


@pytest.mark.parametrize("options", ["", "set -e -o pipefail;"])
def test_a_failure_within_a_lock_ends_the_script_and_frees_the_lock(shell: Shell, options: str) -> None:
    done = shell(f"{options} exclusive lock 1 ssh_exec_and_log host1 'echo why >&2; exit 6' 'No luck'; echo still here")
    assert (done.returncode, done.stdout) == (6, "")
    assert script_output(done.stderr.encode()).error == "No luck"
    assert shell.prints("exclusive lock 0.1 echo free; exclusive lock 0.1 ssh_exec_and_log host1 true; echo on") == (
        "free\non"
    )
    done = shell(f"{options} exec_and_log 'echo why >&2; exit 5' 'No luck'; echo still here")
    assert (done.returncode, script_output(done.stderr.encode()).error) == (5, "No luck")


def test_qcow2_disks_get_the_layout_of_their_snapshots(shell: Shell) -> None:
    image, disk = shell.base / "an image", shell.base / "0/7/disk.0"
    disk.parent.mkdir(parents=True)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "1M"], check=True)
    library = '. "$ONE_LOCATION/var/remotes/datastore/libfs.sh"\n'
    for how in ("create", "convert", "create"):
        made = f"""ssh_exec_and_log host1 "$(qcow_dir_cmd '{image}' {disk} {how})"; image_format {disk}"""
        assert shell.prints(f"{library}{made}") == "qcow2"
        assert disk.readlink() == Path("disk.0.snap/0")
        assert (disk.parent / "disk.0.snap/disk.0.snap").readlink() == Path(".")
        about = subprocess.run(["qemu-img", "info", disk], capture_output=True, text=True, check=True).stdout
        assert ("backing file" in about) == (how == "create")


def test_datastores_are_marked_for_monitoring_on_hosts_and_unmarked(shell: Shell) -> None:
    directory = shell.base / "ds 0/7"
    shell.prints(f"enable_local_monitoring host1 '{directory}' ssh")
    assert (directory.parent / ".monitor").read_text() == "ssh\n"
    shell.prints(f"disable_local_monitoring host1 '{directory}'")
    assert not (directory.parent / ".monitor").exists()
    assert shell.prints("monitor_and_log 'echo FREE_MB=5; echo noise >&2'") == "FREE_MB=5"
    assert shell.prints('BRIDGE_LIST="a b"; get_destination_host; get_destination_host 3; is_yes yes && echo yes') == (
        "a\nb\nyes"
    )


def test_a_command_past_its_time_is_killed_with_its_children(shell: Shell) -> None:
    began = time.monotonic()
    done = shell("timeout_exec_and_log 0.3 'sleep 60 | sleep 60'")
    assert time.monotonic() - began < 10
    assert done.returncode == 124
    assert "it did not end within 0.3 s" in done.stderr


def test_retries_and_locks(shell: Shell) -> None:
    assert shell.prints("n=0; f() { n=$((n+1)); [ $n = 3 ]; }; retry 5 0 f; echo $n") == "3"
    assert shell("n=0; f() { n=$((n+1)); return 4; }; retry 2 0 f").returncode == 4
    assert shell.prints("f() { echo x >> count; echo busy >&2; [ $(wc -l < count) = 2 ]; }; cd $(mktemp -d);"
                        "retry_if busy 5 0 f") == "busy"  # fmt: skip
    assert shell("f() { echo other >&2; return 6; }; retry_if busy 5 0 f").returncode == 6
    assert shell.prints("exclusive a/lock 1 echo held") == "held"
    done = shell("exclusive lock 5 sleep 3 & sleep 0.5; exclusive lock 0.2 echo held; code=$?; kill %1; exit $code")
    assert done.returncode == 1
    assert "the lock lock was not free within 0.2 s" in done.stderr


def test_paths_are_made_on_hosts_and_the_monitoring_driver_is_noted(shell: Shell) -> None:
    wanted = shell.base / "a place" / "0" / "7"
    shell.prints(f"ssh_make_path host1 '{wanted}' ssh")
    assert wanted.is_dir()
    assert (wanted.parent / ".monitor").read_text() == "ssh\n"
    (shell.base / "file").touch()
    done = shell(f"ssh_make_path host1 '{shell.base}/file/7'; echo still here")
    assert (done.returncode, done.stdout) == (1, "")
    assert script_output(done.stderr.encode()).error.startswith(
        f"Error creating directory {shell.base}/file/7 at host1"
    )


def test_the_words_of_a_line_are_taken_apart(shell: Shell) -> None:
    assert shell.prints("arg_host host1:/a//b/; arg_path host1:/a//b/") == "host1\n/a/b"
    assert shell.prints("arg_path /a/b; fix_dir_slashes //; disk_id /x/disk.12; disk_id /x/disk.3.snap/0") == (
        "/a/b\n/\n12\n3"
    )
    assert shell.prints("SRC=h:/a//b DST=h:/a/b/images; full_src_and_dst_equal && echo same") == "same"
    assert shell.prints("SRC=h:/a DST=i:/a; full_src_and_dst_equal || echo other") == "other"
    assert shell.prints("is_disk /x/7; is_disk /x/7/disk.0") == "0\n1"
    assert shell.prints("SRC_PATH=/a//b DST_PATH=/c/; fix_paths; echo $SRC_PATH $DST_PATH") == "/a/b /c"
    assert shell.prints("get_vmdir; echo $VMDIR") == str(shell.base / "var/datastores")


def test_disks_are_made(shell: Shell) -> None:
    disk = shell.base / "a disk"
    for kind, sign in (("raw", b"\0"), ("qcow2", b"QFI"), ("swap", b"\0")):
        shell.prints(f"""exec_and_log "$(mkfs_command '{disk}' {kind} 2)" """)
        assert disk.read_bytes().startswith(sign)
    assert b"SWAPSPACE2" in disk.read_bytes()
    for kind, sign in (("raw", b"\0"), ("qcow2", b"QFI")):
        shell.prints(
            f"""multiline_exec_and_log "$(PATH=$PATH:/sbin; mkfs_command '{disk}' {kind} 2 ext4,ext2 ext4)" """
        )
        assert disk.read_bytes().startswith(sign)
    assert "SUPPORTED_FS is ext4" in shell("mkfs_command disk raw 2 ext4 zfs").stderr
    assert shell("mkfs_command disk vmdk 2").returncode == 1


def test_images_get_names_of_their_own_and_restricted_places_are_known(shell: Shell) -> None:
    library = '. "$ONE_LOCATION/var/remotes/datastore/libfs.sh"\n'
    first, second = (shell.prints(f"{library}set_up_datastore {shell.base}/ds/; generate_image_path 5") for _ in "12")
    assert first != second
    assert Path(first).parent == shell.base / "ds"
    assert len(Path(first).name) == 32
    setup = f'{library}set_up_datastore {shell.base}/ds "/etc /var" "/var/tmp"\n'
    checks = "check_restricted /etc/../etc/passwd; check_restricted /var/tmp/x; check_restricted /etcx"
    assert shell.prints(f"{setup}{checks}") == "1\n0\n0"
    (shell.base / "raw").write_bytes(b"\0" * (1 << 20) + b"1")
    assert shell.prints(f"{library}fs_size {shell.base}/raw") == "2"


def test_xpath_prints_values_between_nuls_and_counts_misses(shell: Shell) -> None:
    assert shell.xpath("/VM/TEMPLATE/DISK[DISK_ID=10]/SIZE", "/VM/NAME", "/VM/ID") == (1, ["128", "", "7"])
    assert shell.xpath("--stdin", "%m%/VM/TEMPLATE/DISK/TM_MAD", "/VM/TEMPLATE/DISK/SIZE") == (0, ["own ssh", "64"])
    assert shell.xpath("/VM/HISTORY_RECORDS/HISTORY[last()-1]/HOSTNAME", "//HISTORY[last()]/HOSTNAME") == (
        0,
        ["host1", "host2"],
    )
    encoded = base64.b64encode(XML.encode()).decode()
    assert shell.xpath("-b", encoded, "count(//DISK)", '//DISK[SIZE="128" and TM_MAD="ssh"]/DISK_ID', stdin="") == (
        0,
        ["2", "10"],
    )


def test_xpath_without_lxml_still_reads_what_drivers_read(shell: Shell) -> None:
    plain = shell.base / "python3"
    plain.write_text(f'#!/bin/sh\nexec {sys.executable} -S -I "$@"\n')
    plain.chmod(0o755)
    found = shell.xpath(
        "/VM/TEMPLATE/DISK[DISK_ID=10]/SIZE",
        '/VM/TEMPLATE/DISK[DISK_ID="0"]/SIZE',
        "%m%//TM_MAD",
        "/VM/HISTORY_RECORDS/HISTORY[last()-1]/HOSTNAME",
        HOLDFAST_PYTHON=str(plain),
    )
    assert found == (0, ["128", "64", "own ssh", "host1"])


def test_xpath_reads_no_files_through_entities(shell: Shell) -> None:
    secret = shell.base / "secret"
    secret.write_text("secret")
    text = f'<!DOCTYPE VM [<!ENTITY e SYSTEM "file://{secret}">]><VM><ID>&e;</ID></VM>'
    assert "secret" not in "".join(shell.xpath("/VM/ID", stdin=text)[1])
