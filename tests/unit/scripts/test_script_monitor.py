"""How full a system datastore is, by the script of its driver."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from holdfast.api.views import render_datastore
from holdfast.drivers.capacity import Figures
from holdfast.drivers.script_files import ScriptFiles
from holdfast.drivers.tm.script_monitor import ScriptMonitor
from holdfast.model.enums import DatastoreType
from holdfast.model.errors import HoldfastError
from tests.unit.scripts.bashed import BashedSite
from tests.unit.vmm.objects import a_datastore

DATASTORE = replace(a_datastore(100), tm_mad="bashed")


@pytest.fixture
def site(tmp_path: Path) -> BashedSite:
    return BashedSite(tmp_path)


def monitor(site: BashedSite) -> ScriptMonitor:
    return ScriptMonitor(ScriptFiles(site.remotes, "tm"), site.runs, render_datastore)


def look(site: BashedSite, limit_s: float = 10) -> Figures:
    return asyncio.run(monitor(site).look(DATASTORE, limit_s))


def test_the_script_gets_the_datastore_and_its_figures_are_taken(site: BashedSite) -> None:
    assert look(site) == Figures(total_mb=100, free_mb=70, used_mb=30)
    action, arguments, stdin = site.calls[0].split("|")
    assert (action, arguments) == ("monitor", "100")
    data = ElementTree.fromstring(base64.b64decode(stdin))
    assert data.tag == "DS_DRIVER_ACTION_DATA"
    assert data.findtext("DATASTORE/TM_MAD") == "bashed"


def test_only_system_datastores_of_drivers_with_the_script_are_measured_so(site: BashedSite) -> None:
    assert monitor(site).measures(DATASTORE)
    assert not monitor(site).measures(replace(DATASTORE, type=DatastoreType.IMAGE_DS))
    assert not monitor(site).measures(replace(DATASTORE, tm_mad="shared"))
    assert not monitor(site).measures(replace(DATASTORE, tm_mad="../tm/bashed"))
    (site.folder / "monitor").unlink()
    assert not monitor(site).measures(DATASTORE)


def test_a_script_without_figures_is_an_error_with_its_words(site: BashedSite) -> None:
    site.wish("monitor", "fail")
    with pytest.raises(HoldfastError, match="monitor ended with exit code 3: no luck with monitor"):
        look(site)
    site.wish("monitor", "slow")
    with pytest.raises(HoldfastError, match="monitor did not end in time"):
        look(site, 0.5)
    script = site.folder / "monitor"
    script.unlink()
    script.write_text("#!/bin/sh\necho TOTAL_MB=5\n")
    script.chmod(0o755)
    with pytest.raises(HoldfastError, match="it lacks FREE_MB, USED_MB"):
        look(site)
