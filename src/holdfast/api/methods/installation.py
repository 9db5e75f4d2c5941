"""Reads of what an installation has few of: users, groups, the cluster, the zone, access rules, the configuration."""

from __future__ import annotations

from holdfast.api.methods.method import Call, Method, Result, params
from holdfast.api.methods.objects import found
from holdfast.api.methods.selection import newest_first
from holdfast.api.views import installation, user
from holdfast.api.views.owners import GROUPS

OPENNEBULA_VERSION = "7.0.2"
"""The OpenNebula whose API this is; clients compare it with their own."""


async def _user(call: Call, oid: int, decrypt: bool) -> Result:
    wanted = call.actor.uid if oid == -1 else oid
    return user.user(found(call.state.users, wanted, "user"), with_digest=call.actor.is_admin)


async def _users(call: Call) -> Result:
    return user.users(newest_first(call.state.users), with_digest=call.actor.is_admin)


async def _group(call: Call, oid: int, decrypt: bool) -> Result:
    gid = call.actor.gid if oid == -1 else oid
    found(GROUPS, gid, "group")
    return user.group(gid, call.state.users.values())


async def _groups(call: Call) -> Result:
    return user.groups(call.state.users.values())


def _default_cluster(call: Call) -> str:
    return installation.cluster(call.state.hosts, call.state.datastores)


async def _cluster(call: Call, oid: int, decrypt: bool) -> Result:
    found({installation.CLUSTER_ID: True}, oid, "cluster")
    return _default_cluster(call)


async def _clusters(call: Call) -> Result:
    return f"<CLUSTER_POOL>{_default_cluster(call)}</CLUSTER_POOL>"


async def _zone(call: Call, oid: int, decrypt: bool) -> Result:
    found({installation.ZONE_ID: True}, oid, "zone")
    return installation.zone(call.settings.endpoint)


async def _zones(call: Call) -> Result:
    return f"<ZONE_POOL>{installation.zone(call.settings.endpoint)}</ZONE_POOL>"


async def _raft(call: Call) -> Result:
    return installation.RAFT


async def _acl(call: Call) -> Result:
    return "<ACL_POOL></ACL_POOL>"


async def _version(call: Call) -> Result:
    return OPENNEBULA_VERSION


async def _config(call: Call) -> Result:
    return installation.configuration(call.controller.beacon_period_s)


_INFO = params("oid:int decrypt:bool=false")

METHODS: tuple[Method, ...] = (
    Method("one.user.info", _INFO, _user, "string", "Shows a user; -1 is the caller."),
    Method("one.userpool.info", (), _users, "string", "Lists the users."),
    Method("one.group.info", _INFO, _group, "string", "Shows a group; -1 is the caller's."),
    Method("one.grouppool.info", (), _groups, "string", "Lists the groups."),
    Method("one.cluster.info", _INFO, _cluster, "string", "Shows a cluster."),
    Method("one.clusterpool.info", (), _clusters, "string", "Lists the clusters."),
    Method("one.zone.info", _INFO, _zone, "string", "Shows a zone."),
    Method("one.zonepool.info", (), _zones, "string", "Lists the zones."),
    Method("one.zone.raftstatus", (), _raft, "string", "Shows the state of replication; this server is alone."),
    Method("one.acl.info", (), _acl, "string", "Lists the access rules; this version has none."),
    Method("one.system.version", (), _version, "string", "The version of OpenNebula whose API is spoken."),
    Method("one.system.config", (), _config, "string", "The part of the configuration that clients need."),
)
