"""Hosts behind real ssh servers, started once for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.tm.ssh_hosts import SshSite, running


@pytest.fixture(scope="module")
def kept_ssh_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshSite]:
    """Two hosts that run for all tests of a module."""
    site = SshSite(tmp_path_factory.mktemp("ssh"))
    with running(*site.hosts):
        yield site


@pytest.fixture
def ssh_site(kept_ssh_site: SshSite) -> SshSite:
    """They hold nothing yet."""
    kept_ssh_site.clear()
    return kept_ssh_site
