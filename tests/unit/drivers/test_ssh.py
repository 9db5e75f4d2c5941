"""The OpenSSH client, as far as it can be seen without a host; with hosts: tests/unit/tm/test_ssh_failures.py."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

import pytest

from holdfast.drivers.ssh import Ssh, SshFailed, SshSettings, private_directory
from tests.unit.tm.ssh_hosts import SshHost, a_client, running


def test_sessions_are_bounded_for_each_host_and_in_all(tmp_path: Path) -> None:
    ssh = Ssh(SshSettings(tmp_path, at_once=4, per_host=2))
    now: dict[str, int] = {}
    most: dict[str, int] = {}

    async def work(*hosts: str) -> None:
        async with ssh.turn(*hosts):
            for host in (*hosts, *("all" for _ in hosts)):
                now[host] = now.get(host, 0) + 1
                most[host] = max(most.get(host, 0), now[host])
            await asyncio.sleep(0.002)
            for host in (*hosts, *("all" for _ in hosts)):
                now[host] -= 1

    async def crowd() -> None:
        pairs = [("a", "b"), ("b", "a"), ("c", "a"), ("b", "c")] * 10
        async with asyncio.timeout(10):  # pairs in any order do not wait for each other for ever
            await asyncio.gather(*(work(*pair) for pair in pairs), *(work("d") for _ in range(20)))

    asyncio.run(crowd())
    assert most == {"a": 2, "b": 2, "c": 2, "d": 2, "all": 4}


def test_who_waits_for_a_turn_in_vain_leaves_no_trace(tmp_path: Path) -> None:
    ssh = Ssh(SshSettings(tmp_path, per_host=1))

    async def work() -> None:
        async with ssh.turn("a"):
            waiting = asyncio.create_task(_taken(ssh, "a"))
            await asyncio.sleep(0.01)
            waiting.cancel()
        async with asyncio.timeout(1), ssh.turn("a"):
            pass

    asyncio.run(work())


async def _taken(ssh: Ssh, host: str) -> None:
    async with ssh.turn(host):
        pass


def test_the_sockets_of_connections_are_in_a_private_directory_with_a_short_name(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as own:  # pytest's own name would be too long
        assert private_directory(Path(own, "c")) == Path(own, "c")
    long = tmp_path / ("x" * 100)
    short = private_directory(long)
    assert len(os.fsencode(short)) + 1 + 40 + 17 < 104
    assert short.stat().st_mode & 0o777 == 0o700
    short.chmod(0o755)
    with pytest.raises(SshFailed, match="only this user can enter"):
        private_directory(long)
    short.rmdir()


@pytest.mark.parametrize("name", ["-oProxyCommand=true", "", "a b", "host;reboot", "host\n"])
def test_a_name_that_is_no_hosts_is_not_given_to_ssh(tmp_path: Path, name: str) -> None:
    async def work() -> None:
        async with Ssh(SshSettings(tmp_path)).session(name, "true"):
            pass

    with pytest.raises(SshFailed, match="is no name of a host"):
        asyncio.run(work())


def test_who_asks_for_a_host_that_is_being_tried_shares_the_answer(tmp_path: Path) -> None:
    host = SshHost(tmp_path, "host1", tmp_path)
    (host.base / "known_hosts").touch()

    async def work() -> list[object]:
        ssh = a_client(tmp_path, host)
        tries = [asyncio.create_task(_ended(ssh)) for _ in range(8)]
        return list(await asyncio.gather(*tries, return_exceptions=True))

    answers = asyncio.run(work())
    assert {type(answer) for answer in answers} == {SshFailed}
    assert {str(answer) for answer in answers} == {
        f"host host1 cannot be reached by ssh: ssh: connect to host 127.0.0.1 port {host.port}: Connection refused"
    }


async def _ended(ssh: Ssh) -> int:
    async with ssh.session("host1", "exit 3") as program:
        program.end_input()
        return await program.ends()


def test_one_connection_carries_many_sessions(tmp_path: Path) -> None:
    (tmp_path / "datastores").mkdir()
    host = SshHost(tmp_path, "host1", tmp_path / "datastores")

    async def work(ssh: Ssh) -> None:
        async with ssh.turn("host1"):
            assert await _ended(ssh) == 3

    async def crowd() -> None:
        ssh = a_client(tmp_path, host)
        await asyncio.gather(*(work(ssh) for _ in range(20)))
        sockets = private_directory(tmp_path / "control")
        assert list(sockets.iterdir()), "the connection is kept"
        await ssh.close()
        assert not list(sockets.iterdir()), "and ends with its client"

    with running(host):
        asyncio.run(crowd())
        assert (host.base / "sshd.log").read_text().count("Accepted publickey") == 1
