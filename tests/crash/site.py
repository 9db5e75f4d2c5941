"""One installation on a directory of its own: a controller that is forked, killed and forked again, and its world.

The fork comes from a process that has everything imported and no threads, so that a start takes a few hundredths of a
second; it is a process of its own all the same, with a real store on the disk, and dies of a real SIGKILL.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import os
import select
import shutil
import signal
import socket
import sqlite3
import time
import xmlrpc.client
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from holdfast.serve.config import Config
from holdfast.serve.sockets import Inherited
from tests.crash import controller
from tests.crash.points import Points
from tests.crash.world import Hosts, World

PERIOD_S = 0.1
LIMIT_S = 30.0
_CALL_LIMIT_S = 15.0
_POLL_S = 0.005
_PR_SET_CHILD_SUBREAPER = 36


class Killed(Exception):
    """The controller died."""


class Stuck(AssertionError):
    """What was waited for does not happen."""


class Site:
    """``directory`` holds everything; it can be kept aside and put back, always under the same name."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.var = directory / "var"
        self.log = directory / "controller.log"
        self._database = self.var / "holdfast.db"
        self.world = World(directory / "world.json")
        self._api = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._beacons = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._beacons.bind(("127.0.0.1", 0))
        self.fault = ""
        """What is wrong with the controllers, to see that it is noticed."""
        self._pid = 0
        self._pidfd = -1
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # hooks and tools that a kill leaves come to us
        directory.mkdir(parents=True)
        self._auth = directory / "one_auth"
        self._auth.write_text("oneadmin:secret", encoding="ascii")

    @property
    def address(self) -> tuple[str, int]:
        """Of the API."""
        host, port = self._api.getsockname()
        return host, port

    def start(self, noted: Path | None = None, deadly: str = "") -> None:
        """A controller; calls made before it is ready wait for it."""
        config = Config(
            var=self.var,
            one_auth=self._auth,
            beacon_period_s=PERIOD_S,
            suspect_after_s=0.5,
            dead_after_s=1.5,
            blind_share=1.0,
        )
        self._pid = os.fork()
        if self._pid == 0:
            names = self.directory / "names"
            sockets = Inherited([self._api], [self._beacons])
            controller.serve(config, sockets, self.log, self.world, Points(names, noted, deadly), self.fault)
        self._pidfd = os.pidfd_open(self._pid)

    @property
    def lives(self) -> bool:
        """Whether the controller has not died."""
        return self._pidfd >= 0 and not select.select([self._pidfd], [], [], 0)[0]

    def kill(self) -> None:
        """SIGKILL, if it lives still; programs that it has left go too."""
        if self._pidfd >= 0:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            self.bury()

    def bury(self) -> int:
        """Waits for the end of the controller; how it ended, negative for a signal."""
        _, status = os.waitpid(self._pid, 0)
        os.close(self._pidfd)
        self._pidfd = -1
        return os.waitstatus_to_exitcode(status)

    def sweep(self) -> None:
        """Ends what dead controllers have left running."""
        children = Path(f"/proc/self/task/{os.getpid()}/children")
        for pid in map(int, children.read_text(encoding="ascii").split()):
            if pid != self._pid or self._pidfd < 0:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)

    def call(self, method: str, *arguments: Any) -> Any:
        """The method's value; raises Killed when the controller dies over it."""
        body = xmlrpc.client.dumps(("oneadmin:secret", *arguments), method)
        connection = http.client.HTTPConnection(*self.address, timeout=_CALL_LIMIT_S)
        try:
            connection.request("POST", "/RPC2", body, {"Content-Type": "text/xml"})
            select.select([connection.sock, self._pidfd], [], [], _CALL_LIMIT_S)
            if not self.lives:
                raise Killed(method)
            reply = connection.getresponse().read()
        except (ConnectionError, http.client.HTTPException) as error:
            raise Killed(str(error)) from None
        finally:
            connection.close()
        values: Any = xmlrpc.client.loads(reply.decode())[0][0]
        if not values[0]:
            raise Stuck(f"{method}{arguments}: {values[1]}")
        return values[1]

    @contextmanager
    def journal(self) -> Iterator[sqlite3.Connection]:
        """The database, to look at."""
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=5)) as database:
            yield database

    def newest_effect(self) -> int:
        """The highest id in the journal."""
        with self.journal() as database:
            return int(database.execute("SELECT coalesce(max(oid), -1) FROM effect").fetchone()[0])

    def wait(self, look: Callable[[sqlite3.Connection], bool], what: str, limit_s: float = LIMIT_S) -> None:
        """Returns when it is so; raises Killed when the controller dies first."""
        ends = time.monotonic() + limit_s
        with self.journal() as database:
            while not look(database):
                if not self.lives:
                    raise Killed(what)
                if time.monotonic() > ends:
                    raise Stuck(f"not within {limit_s:g} s: {what}; {under_way(database)}")
                time.sleep(_POLL_S)

    def wait_for_rest(self, limit_s: float = LIMIT_S) -> None:
        """Until no effect is under way."""
        self.wait(lambda database: not under_way(database), "all effects answered", limit_s)

    def change_world(self, change: Callable[[Hosts], None]) -> None:
        """Something happens out there."""
        with self.world.change() as hosts:
            change(hosts)

    def said(self) -> str:
        """The end of what controllers and the world have said."""
        log = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return f"--- the controllers' log\n{log[-4000:]}\n--- the world's story\n" + "\n".join(self.world.look().story)

    def put_aside(self, place: Path) -> None:
        """Keeps a copy of the directory; the controller must be dead."""
        shutil.copytree(self.directory, place, symlinks=True)

    def put_back(self, place: Path) -> None:
        """The directory is again what it was."""
        shutil.rmtree(self.directory)
        shutil.copytree(place, self.directory, symlinks=True)

    def close(self) -> None:
        """Ends everything."""
        self.kill()
        self.sweep()
        self._api.close()
        self._beacons.close()


def under_way(database: sqlite3.Connection) -> list[Any]:
    """The open effects."""
    return database.execute("SELECT oid, kind, subject FROM effect WHERE state IN ('planned', 'running')").fetchall()
