"""The attributes that a host reports of itself."""

from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.agent.capacity import Capacity
from holdfast.agent.config import AgentConfig
from holdfast.model.beacon import BeaconBody, seal, unseal

Config = Callable[..., AgentConfig]


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Made-up CPU @ 3 GHz\n")
    (tmp_path / "meminfo").write_text("MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 750 kB\nHugePages_Total: 0\n")
    (tmp_path / "stat").write_text("cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1 2 3\n")
    return tmp_path


def test_free_and_used_add_up_to_the_total(config_for: Config, proc: Path) -> None:
    attributes = Capacity(config_for(1, total_cpu=400, hypervisor="qemu"), proc).read()
    assert attributes["TOTALCPU"] == "400"
    assert (attributes["USEDCPU"], attributes["FREECPU"]) == ("80", "320")
    assert [attributes[f"{kind}MEMORY"] for kind in ("TOTAL", "USED", "FREE")] == ["1000", "250", "750"]
    assert (attributes["HYPERVISOR"], attributes["HOSTNAME"]) == ("qemu", "host1")
    assert attributes["MODELNAME"] == "Made-up CPU @ 3 GHz"


def test_processor_usage_is_that_since_the_last_reading(config_for: Config, proc: Path) -> None:
    capacity = Capacity(config_for(1, total_cpu=100), proc)
    capacity.read()
    (proc / "stat").write_text("cpu  175 0 100 825 0 0 0 0 0 0\n")
    assert capacity.read()["USEDCPU"] == "75"


def test_a_share_of_a_machine_is_used_as_the_machine_is(config_for: Config, proc: Path) -> None:
    attributes = Capacity(config_for(1, total_memory_kb=400), proc).read()
    assert [attributes[f"{kind}MEMORY"] for kind in ("TOTAL", "USED", "FREE")] == ["400", "100", "300"]


def test_the_real_attributes_pass_over_the_wire(config_for: Config) -> None:
    attributes = Capacity(config_for(1)).read()
    body = BeaconBody("boot-a", "", 0.0, (), "up", attributes)
    assert unseal(seal(b"k", 1, 1, body), lambda _: b"k").body.system == attributes
