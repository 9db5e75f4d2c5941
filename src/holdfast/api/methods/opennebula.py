"""The names of all methods of OpenNebula, by object.

Those that this version does not have are refused with a reason instead of a fault, so that a client can tell
"not here" from "mistyped".
"""

from __future__ import annotations

from collections.abc import Mapping

_VERBS: Mapping[str, str] = {
    "one.acl": "addrule delrule info",
    "one.backupjob": (
        "allocate backup cancel chmod chown delete info lock priority rename retry schedadd scheddelete "
        "schedupdate unlock update"
    ),
    "one.backupjobpool": "info",
    "one.cluster": (
        "adddatastore addhost addvnet allocate deldatastore delete delhost delvnet info optimize plandelete "
        "planexecute rename update"
    ),
    "one.clusterpool": "info",
    "one.datastore": "allocate chmod chown delete enable info rename update",
    "one.datastorepool": "info",
    "one.document": "allocate chmod chown clone delete info lock rename unlock update",
    "one.documentpool": "info",
    "one.group": "addadmin allocate deladmin delete info quota update vlan",
    "one.grouppool": "info",
    "one.groupquota": "info update",
    "one.hook": "allocate delete info lock rename retry unlock update",
    "one.hooklog": "info",
    "one.hookpool": "info",
    "one.host": "allocate delete info monitoring rename status update",
    "one.hostpool": "info monitoring",
    "one.image": (
        "allocate chmod chown chtype clone delete enable info lock persistent rename restore snapshotdelete "
        "snapshotflatten snapshotrevert unlock update"
    ),
    "one.imagepool": "info",
    "one.market": "allocate allocatedb chmod chown delete enable info rename update updatedb",
    "one.marketapp": "allocate allocatedb chmod chown delete dropdb enable info lock rename unlock update updatedb",
    "one.marketapppool": "info",
    "one.marketpool": "info",
    "one.secgroup": "allocate chmod chown clone commit delete info rename update",
    "one.secgrouppool": "info",
    "one.system": "config sql sqlquery version",
    "one.template": "allocate chmod chown clone delete info instantiate lock rename unlock update",
    "one.templatepool": "info",
    "one.user": "addgroup allocate chauth chgrp delete delgroup enable info login passwd quota update",
    "one.userpool": "info",
    "one.userquota": "info update",
    "one.vdc": (
        "addcluster adddatastore addgroup addhost addvnet allocate delcluster deldatastore delete delgroup "
        "delhost delvnet info rename update"
    ),
    "one.vdcpool": "info",
    "one.vm": (
        "action allocate attach attachnic attachpci attachsg backup backupcancel cancelexec chmod chown "
        "deploy detach detachnic detachpci detachsg diskresize disksaveas disksnapshotcreate "
        "disksnapshotdelete disksnapshotrename disksnapshotrevert exec info lock migrate monitoring recover "
        "rename resize restore retryexec schedadd scheddelete schedupdate snapshotcreate snapshotdelete "
        "snapshotrevert unlock update updateconf updatenic vmgroupadd vmgroupdel"
    ),
    "one.vmgroup": "allocate chmod chown delete info lock rename roleadd roledelete roleupdate unlock update",
    "one.vmgrouppool": "info",
    "one.vmpool": "accounting calculateshowback info infoextended infoset monitoring showback",
    "one.vn": (
        "add_ar allocate chmod chown delete free_ar hold info lock recover release rename reserve rm_ar "
        "unlock update update_ar"
    ),
    "one.vnpool": "info",
    "one.vntemplate": "allocate chmod chown clone delete info instantiate lock rename unlock update",
    "one.vntemplatepool": "info",
    "one.vrouter": "allocate attachnic chmod chown delete detachnic info instantiate lock rename unlock update",
    "one.vrouterpool": "info",
    "one.zone": (
        "addserver allocate delete delserver enable fedreplicate info raftstatus rename replicate resetserver "
        "update updatedb voterequest"
    ),
    "one.zonepool": "info",
}

NAMES = frozenset(f"{target}.{verb}" for target, verbs in _VERBS.items() for verb in verbs.split())
"""Every method of OpenNebula."""
