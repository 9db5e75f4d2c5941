"""Hosts as XML.  Secrets of the template (fence devices) never leave through here."""

from __future__ import annotations

import re

from holdfast.api.masking import masked
from holdfast.api.views.installation import cluster_name
from holdfast.api.views.markup import embedded, ids, text
from holdfast.model.host import Host
from holdfast.model.template_xml import cdata, write_xml

_TIME = "<TIMESTAMP>{}</TIMESTAMP>"
_WHOLE = re.compile("[0-9]{1,18}")
_NO_DISKS = tuple(f"<{name}>{cdata('0')}</{name}>" for name in ("DISK_USAGE", "FREE_DISK", "MAX_DISK", "USED_DISK"))


def full(host: Host) -> str:
    """The host as ``one.host.info`` and ``one.hostpool.info`` show it."""
    record = monitoring(host) or "<MONITORING></MONITORING>"
    return (
        f"<HOST><ID>{host.oid}</ID><NAME>{text(host.name)}</NAME><STATE>{host.state:d}</STATE>"
        f"<PREV_STATE>{host.prev_state:d}</PREV_STATE><IM_MAD>{cdata(host.im_mad)}</IM_MAD>"
        f"<VM_MAD>{cdata(host.vm_mad)}</VM_MAD><CLUSTER_ID>{host.cluster_id}</CLUSTER_ID>"
        f"<CLUSTER>{cluster_name(host.cluster_id)}</CLUSTER>{_share(host)}{ids('VMS', host.vms)}"
        f"<TEMPLATE>{write_xml(masked(host.template))}</TEMPLATE>{record}</HOST>"
    )


def _share(host: Host) -> str:
    return (
        f"<HOST_SHARE><MEM_USAGE>{host.mem_usage}</MEM_USAGE><CPU_USAGE>{host.cpu_usage}</CPU_USAGE>"
        f"<TOTAL_MEM>{_whole(host, 'TOTALMEMORY', host.max_mem)}</TOTAL_MEM>"
        f"<TOTAL_CPU>{_whole(host, 'TOTALCPU', host.max_cpu)}</TOTAL_CPU>"
        f"<MAX_MEM>{host.max_mem}</MAX_MEM><MAX_CPU>{host.max_cpu}</MAX_CPU>"
        f"<RUNNING_VMS>{len(host.vms)}</RUNNING_VMS><VMS_THREAD>1</VMS_THREAD>{_datastores(host)}"
        "<PCI_DEVICES></PCI_DEVICES><NUMA_NODES></NUMA_NODES></HOST_SHARE>"
    )


def _datastores(host: Host) -> str:
    stores = "".join(
        f"<DS><FREE_MB>{each.free_mb}</FREE_MB><ID>{each.ds_id}</ID><TOTAL_MB>{each.total_mb}</TOTAL_MB>"
        f"<USED_MB>{each.used_mb}</USED_MB></DS>"
        for each in host.datastores
    )
    usage, *totals = _NO_DISKS
    return f"<DATASTORES>{usage}{stores}{''.join(totals)}</DATASTORES>"


def _whole(host: Host, name: str, default: int) -> int:
    """What the host itself reported, which is more than its MAX when part of it is reserved."""
    reported = host.template.get(name)
    return int(reported) if _WHOLE.fullmatch(reported) else default


def monitoring(host: Host) -> str:
    """The newest monitoring record, empty when the host was never heard."""
    if not host.last_seen:
        return ""
    return (
        f"<MONITORING>{_TIME.format(host.last_seen)}<ID>{host.oid}</ID><CAPACITY>"
        f"<FREE_CPU>{cdata(str(host.free_cpu))}</FREE_CPU><FREE_MEMORY>{cdata(str(host.free_mem))}</FREE_MEMORY>"
        f"<USED_CPU>{cdata(str(host.cpu_usage))}</USED_CPU><USED_MEMORY>{cdata(str(host.mem_usage))}</USED_MEMORY>"
        "</CAPACITY><SYSTEM><NETRX><![CDATA[0]]></NETRX><NETTX><![CDATA[0]]></NETTX></SYSTEM></MONITORING>"
    )


def with_time(fragment: bytes, stored: int, heard: int) -> bytes:
    """A rendered host, or its record, with the time when it was last heard; what is rendered has that of a change."""
    if heard <= stored:
        return fragment
    return fragment.replace(embedded(_TIME.format(stored)), embedded(_TIME.format(heard)), 1)
