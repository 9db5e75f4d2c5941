"""The failover hook: what to do when a host goes to ERROR.

Against Holdfast it opens a failover and ends at once: the server waits, fences and places by itself.  Against a real
OpenNebula it does the work through the public API (:mod:`holdfast.libexec.classic_failover`).  Exit code 0: done, or
the host came back; 255: a person must look.  One line on standard output tells the result; the log tells the rest.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from xml.etree.ElementTree import Element

from holdfast.cli.connection import find_connection
from holdfast.cli.errors import FAILURE, ApiError, CliError
from holdfast.cli.failover_commands import failover_flags
from holdfast.cli.rpc import Client
from holdfast.cli.xmltree import number_of
from holdfast.libexec.classic_failover import ClassicFailover, Outcome
from holdfast.libexec.fence_script import FILE_NAME, FenceResult, find_fence_script, run_fence_script
from holdfast.libexec.hook_arguments import HookArguments, parse_arguments, read_words
from holdfast.libexec.hook_log import HookLog
from holdfast.libexec.patient_client import PatientClient

DEFAULT_CYCLE_S = 60.0
HOST_ERROR = 3


class _Terminated(Exception):
    """The hook executor's own time limit has struck."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``ft/host_error``."""
    log = HookLog(os.environ)
    signal.signal(signal.SIGTERM, _raise_terminated)
    try:
        arguments = parse_arguments(read_words(sys.argv[1:] if argv is None else argv))
        log.host = str(arguments.host_id)
        log.info("Hook launched")
        outcome = _run(arguments, log)
    except CliError as error:
        outcome = Outcome(FAILURE, str(error))
    except _Terminated:
        outcome = Outcome(FAILURE, "stopped by SIGTERM before it was done; the hook's TIMEOUT may be too short")
    (log.error if outcome.code else log.info)(f"Hook finished: {outcome.text}")
    print(f"host {log.host}: {outcome.text} (log: {log.place})")
    return outcome.code


def _run(arguments: HookArguments, log: HookLog) -> Outcome:
    client = PatientClient(Client(find_connection(os.environ)), time)
    config = client.document("one.system.config")
    if config.find(".//HOLDFAST") is not None:
        return _hand_over(client, arguments)
    failover = ClassicFailover(client, arguments, log, cycle_s(config), time, _fence)
    return failover.run()


def _hand_over(client: PatientClient, arguments: HookArguments) -> Outcome:
    flags = failover_flags(arguments.force, arguments.pause, arguments.fencing)
    try:
        # asked twice it answers the failover that is open already
        failover_id = client.identifier("one.failover.allocate", arguments.host_id, arguments.mode, flags)
    except ApiError:
        if number_of(client.document("one.host.info", arguments.host_id), "STATE") == HOST_ERROR:
            raise
        return Outcome(0, "the host came back before a failover was opened")
    return Outcome(0, f"Holdfast has opened failover {failover_id}: 'onehost failover show {failover_id}' tells more")


def cycle_s(config: Element) -> float:
    """The length of a cycle: MONITORING_INTERVAL_HOST where the server publishes one, otherwise a minute."""
    published = number_of(config, "MONITORING_INTERVAL_HOST")
    return published if published > 0 else DEFAULT_CYCLE_S


def _fence(host_xml: str) -> FenceResult:
    # The hook may be a link in OpenNebula's hook directory: the site's script lies beside the link.
    hook = Path(sys.argv[0])
    directories = [hook.absolute().parent, hook.resolve().parent]
    script = find_fence_script(directories)
    if script is None:
        places = " or ".join(dict.fromkeys(map(str, directories)))
        return FenceResult(
            False, failure=f"there is no executable {FILE_NAME} in {places} (-u goes on without fencing)"
        )
    return run_fence_script(script, host_xml)


def _raise_terminated(number: int, frame: FrameType | None) -> None:
    raise _Terminated
