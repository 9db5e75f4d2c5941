"""The site's own drivers, with everything in place that their scripts expect: ``<var>/remotes``, ``ONE_LOCATION``."""

from __future__ import annotations

import logging
from collections.abc import Callable

from holdfast.api.views import render_datastore
from holdfast.drivers.script_files import ScriptFiles
from holdfast.drivers.script_runs import ScriptRuns
from holdfast.drivers.tm.around_migrations import AroundMigrations
from holdfast.drivers.tm.driver import TmDriver, VmLog
from holdfast.drivers.tm.script_monitor import ScriptMonitor
from holdfast.drivers.tm.scripts import SiteTransfers
from holdfast.drivers.vmm.script_orders import Site
from holdfast.drivers.vmm.script_places import OnController, OnHosts, Place, openssh
from holdfast.drivers.vmm.scripts import ScriptDriver
from holdfast.drivers.vmm.site_hypervisor import SiteHypervisor, site_hypervisors
from holdfast.engine import tm_conf
from holdfast.engine.ports import Driver
from holdfast.model.vm import Vm
from holdfast.serve.config import Config
from holdfast.serve.one_location import OneLocation
from holdfast.serve.remotes import SOURCE, install

LOG = logging.getLogger("holdfast.site_drivers")


class SiteDrivers:
    """Transfer drivers and hypervisors of the site; scripts find the API at ``endpoint``.  ``vm_xml`` renders a VM."""

    def __init__(self, config: Config, endpoint: str, vm_xml: Callable[[Vm], str]) -> None:
        var = config.var.absolute()
        self._config, self._vm_xml, self._remotes = config, vm_xml, var / "remotes"
        for path in install(self._remotes):
            LOG.warning("%s was changed by hand and stays so; that of this version is in %s", path, SOURCE)
        location = OneLocation(config)
        location.prepare()
        self._runs = ScriptRuns(var, location.environment(endpoint))
        files = ScriptFiles(self._remotes, "tm")
        self.transfers = SiteTransfers(files, self._runs, vm_xml)
        self.monitor = ScriptMonitor(files, self._runs, render_datastore)

    def hypervisors(self, tm: TmDriver, log: VmLog, clock: Callable[[], float]) -> dict[str, Driver]:
        """The drivers of ``vmm_mad`` in the configuration, by name."""
        location = str(self._config.datastores_path)

        def driver(hypervisor: SiteHypervisor) -> Driver:
            place, vms_path = self._place(hypervisor), self._config.var / "vms"
            site = Site(hypervisor, place, vms_path, self._vm_xml, render_datastore, tm, log)
            return ScriptDriver(site, location, clock)

        return {name: driver(hypervisor) for name, hypervisor in site_hypervisors(self._config.vmm_mad).items()}

    def _place(self, hypervisor: SiteHypervisor) -> Place:
        config, files = self._config, ScriptFiles(self._remotes, "vmm")
        if hypervisor.local:
            return OnController(hypervisor.name, files, self._runs)
        ssh, directory = openssh(config.ssh_config), config.scripts_remote_dir
        return OnHosts(hypervisor.name, self._remotes, directory, files, self._runs, ssh)

    def around_migrations(self, driver: Driver, tm: TmDriver, log: VmLog, clock: Callable[[], float]) -> Driver:
        """A hypervisor's driver that asks the site's transfer drivers before and after its migrations."""
        return AroundMigrations(driver, tm, self._is_external, str(self._config.datastores_path), log, clock)

    def _is_external(self, name: str) -> bool:
        """The site brings this transfer driver; of a built-in one, scripts of the same name are not used."""
        return name not in tm_conf.BUILT_IN and self.transfers(name) is not None
