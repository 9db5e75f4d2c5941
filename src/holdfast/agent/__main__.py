"""`python -m holdfast.agent --config FILE`: runs the agent of this host in the foreground until SIGTERM."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from holdfast.agent.agent import Agent
from holdfast.agent.config import ConfigRefused, load_config
from holdfast.agent.statelog import StateLog


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until stopped by a signal; 0 when that was SIGTERM or SIGINT, 2 when the configuration is refused."""
    parser = argparse.ArgumentParser(
        prog="holdfast-agent", description="Tells Holdfast's controllers that this host lives."
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="JSON, readable by its owner only")
    options = parser.parse_args(arguments)
    try:
        config = load_config(options.config, os.environ)
    except ConfigRefused as exc:
        print(f"holdfast-agent: {exc}", file=sys.stderr)
        return 2
    log = StateLog()
    agent = Agent(config, log)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: agent.stop())
    log.say("agent", f"host {config.host_id} ({config.name}), boot {config.boot_id}")
    agent.run()
    log.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
