"""Which transfer driver does the work of a line."""

import pytest

from holdfast.drivers.tm.lines import Line, TransferError
from holdfast.drivers.tm.registry import DummyTransfers, Registry, Transfers

SHARED, SSH, FANCY = DummyTransfers(), DummyTransfers(), DummyTransfers()


@pytest.fixture
def registry() -> Registry:
    """Two built-in drivers, and one of the site."""
    built_in: dict[str, Transfers] = {"shared": SHARED, "ssh": SSH}
    return Registry(built_in, {"fancy": FANCY}.get)


@pytest.mark.parametrize(
    ("action", "driver", "works"),
    [
        ("CLONE", "shared", SHARED),
        ("CLONE.ssh", "shared", SSH),
        ("MV.shared", "shared", SHARED),
        ("DELETE.ssh", "ssh", SSH),
        ("CLONE.ssh", "fancy", FANCY),
        ("MV.fancy", "shared", SHARED),
        ("LN", "fancy", FANCY),
    ],
)
def test_the_mode_of_a_built_in_driver_is_another_built_in_driver(
    registry: Registry, action: str, driver: str, works: Transfers
) -> None:
    assert registry.carrying_out(Line(action, driver, ())) is works


def test_a_driver_that_nobody_knows_is_named(registry: Registry) -> None:
    with pytest.raises(TransferError, match="Transfer Driver 'ceph' not available"):
        registry.carrying_out(Line("CLONE.ssh", "ceph", ()))
