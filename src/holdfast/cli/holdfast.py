"""The commands that OpenNebula has no name for: serve, check, sandbox, demo, simulate, agent-key."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from holdfast.cli.check_storage import add_parser as add_check
from holdfast.cli.simulate import add_parser as add_simulate
from holdfast.demo.options import add_options as add_demo_options
from holdfast.sandbox import controller
from holdfast.sandbox.cli import add_parser as add_sandbox


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; answers the exit code."""
    parser = _parser()
    args = parser.parse_args(argv)
    if not hasattr(args, "run"):
        parser.print_help()
        return 0
    try:
        code: int = args.run(args)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="holdfast", description=__doc__)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_serve(commands)
    _add_agent_key(commands)
    add_check(commands)
    add_sandbox(commands, after_up=controller.after_up, before_down=controller.before_down)
    _add_demo(commands)
    add_simulate(commands)
    return parser


def _add_serve(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    serve = commands.add_parser("serve", help="run the controller", description="Run the controller until SIGTERM.")
    serve.add_argument("--config", type=Path, help="TOML file (default: /etc/holdfast/holdfast.toml if it exists)")
    serve.add_argument("--var", type=Path, help="directory of the database, keys and logs")
    serve.add_argument(
        "--listen",
        action="append",
        metavar="IP:PORT",
        help="address of the API (default 127.0.0.1:2633); may be repeated",
    )
    serve.add_argument(
        "--beacons", action="append", metavar="IP:PORT", help="address for beacons (UDP); repeat it for more networks"
    )
    serve.add_argument("--datastores", type=Path, help="where the datastores are mounted, here and on every host")
    serve.add_argument("--heartbeats", type=Path, help="folder of the hosts' heartbeat files, on shared storage")
    serve.add_argument("--accelerator", choices=("auto", "kvm", "tcg"), help="of the hosts' guests")
    serve.add_argument("--log-level", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
    serve.set_defaults(run=_serve)


def _serve(args: argparse.Namespace) -> int:
    from holdfast.model.errors import HoldfastError
    from holdfast.serve.config import load
    from holdfast.serve.daemon import serve
    from holdfast.serve.sockets import inherited

    names = ("var", "datastores", "heartbeats", "accelerator", "log_level")
    options = {name: getattr(args, name) for name in names}
    options["listen"] = tuple(args.listen) if args.listen else None
    options["beacons"] = tuple(args.beacons) if args.beacons else None
    try:
        serve(load(args.config, options), inherited())
    except HoldfastError as error:
        return _fail(error.message)
    except OSError as error:
        return _fail(str(error))
    return 0


def _add_agent_key(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    key = commands.add_parser(
        "agent-key", help="print the key of a host's agent", description="Print the key that a host's agent signs with."
    )
    key.add_argument("host_id", type=int, help="ID of the host (onehost list)")
    key.add_argument("--var", type=Path, default=Path("/var/lib/holdfast"), help="the controller's directory")
    key.set_defaults(run=_agent_key)


def _agent_key(args: argparse.Namespace) -> int:
    from holdfast.model.beacon import host_key
    from holdfast.model.errors import HoldfastError
    from holdfast.serve.bootstrap import master_key

    path = args.var / "agent_master.key"
    try:
        if not path.exists():
            return _fail(f"There is no {path}: start the controller once (holdfast serve), or name its --var.")
        print(host_key(master_key(path), args.host_id).hex())
    except (HoldfastError, OSError) as error:
        return _fail(str(error))
    return 0


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    demo = commands.add_parser("demo", help="lose a host for real and get its VMs back")
    add_demo_options(demo)
    demo.set_defaults(run=_demo)


def _demo(args: argparse.Namespace) -> int:
    from holdfast.demo.main import demo

    return demo(args)


def _fail(message: str) -> int:
    print(message, file=sys.stderr)
    return 1
