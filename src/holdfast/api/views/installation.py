"""What every installation has exactly one of: the cluster, the zone, the configuration, the raft of one server."""

from __future__ import annotations

import math
from collections.abc import Iterable
from importlib.metadata import version

from holdfast.api.views.markup import ids, text
from holdfast.engine.state import LOG_RETENTION
from holdfast.model.template_xml import cdata

VERSION = version("holdfast")
CLUSTER_ID = 0
ZONE_ID = 0

RAFT = (
    "<RAFT><SERVER_ID>-1</SERVER_ID><STATE>0</STATE><TERM>0</TERM><VOTEDFOR>-1</VOTEDFOR><COMMIT>0</COMMIT>"
    "<LOG_INDEX>-1</LOG_INDEX><LOG_TERM>-1</LOG_TERM><FEDLOG_INDEX>-1</FEDLOG_INDEX></RAFT>"
)
"""``one.zone.raftstatus`` of a server that stands alone."""


def cluster_name(cluster_id: int) -> str:
    """The name of the cluster; there is only the default one."""
    return "default" if cluster_id == CLUSTER_ID else ""


def cluster(hosts: Iterable[int], datastores: Iterable[int]) -> str:
    """The default cluster, which holds every host and datastore."""
    return (
        f"<CLUSTER><ID>{CLUSTER_ID}</ID><NAME>{cluster_name(CLUSTER_ID)}</NAME>{ids('HOSTS', hosts)}"
        f"{ids('DATASTORES', datastores)}<VNETS></VNETS><TEMPLATE><RESERVED_CPU><![CDATA[]]></RESERVED_CPU>"
        "<RESERVED_MEM><![CDATA[]]></RESERVED_MEM></TEMPLATE></CLUSTER>"
    )


def zone(endpoint: str) -> str:
    """The zone, reached at ``endpoint``."""
    return (
        f"<ZONE><ID>{ZONE_ID}</ID><NAME>OpenNebula</NAME><STATE>0</STATE>"
        f"<TEMPLATE><ENDPOINT>{cdata(endpoint)}</ENDPOINT></TEMPLATE><SERVER_POOL></SERVER_POOL></ZONE>"
    )


def configuration(beacon_period_s: float) -> str:
    """What clients look up: the ft hook waits in units of MONITORING_INTERVAL_HOST, which is our beacon period."""
    interval_s = max(1, math.ceil(beacon_period_s))
    return (
        "<OPENNEBULA_CONFIGURATION><API_LIST_ORDER><![CDATA[DESC]]></API_LIST_ORDER>"
        "<FEDERATION><MODE><![CDATA[STANDALONE]]></MODE><SERVER_ID><![CDATA[-1]]></SERVER_ID>"
        f"<ZONE_ID>{cdata(str(ZONE_ID))}</ZONE_ID></FEDERATION>"
        f"<HOOK_LOG_CONF><LOG_RETENTION>{cdata(str(LOG_RETENTION))}</LOG_RETENTION></HOOK_LOG_CONF>"
        f"<MONITORING_INTERVAL_HOST>{cdata(str(interval_s))}</MONITORING_INTERVAL_HOST>"
        f"<HOLDFAST><VERSION>{text(VERSION)}</VERSION></HOLDFAST></OPENNEBULA_CONFIGURATION>"
    )
