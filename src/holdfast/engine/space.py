"""Room on datastores: what monitoring found, what was promised since, and who is refused for want of it.

A datastore that was never measured, or that DATASTORE_CAPACITY_CHECK = NO is set for, refuses nobody.  What is started
between two measurements adds up (``promised_mb``), so that many VMs that are placed at once do not share one room; the
next measurement sees what they have written and starts anew.
"""

from __future__ import annotations

from dataclasses import replace

from holdfast.engine.events import DatastoreMeasured
from holdfast.engine.work import Work
from holdfast.model.errors import ActionError, TemplateError
from holdfast.model.storage import Datastore
from holdfast.model.template import Section, Template
from holdfast.model.vm import Vm

_TROUBLE = "MONITORING_ERROR"


def measured(work: Work, event: DatastoreMeasured) -> None:
    """What a look at the datastore found; a look that failed leaves the figures and says so in its template."""
    datastore = work.find(Datastore, event.ds_id)
    if datastore is None:
        return
    after = replace(datastore, template=with_trouble(datastore.template, event.error))
    if not event.error:
        figures = replace(after, total_mb=event.total_mb, free_mb=event.free_mb, used_mb=event.used_mb)
        after = replace(figures, promised_mb=0)
    if after != datastore:
        work.draft.put(after)


def with_trouble(template: Template, error: str) -> Template:
    """The template with, or without, the reason why the last look failed."""
    if error:
        return template.with_values(**{_TROUBLE: error})
    return template.without(_TROUBLE) if _TROUBLE in template else template


def checks_capacity(work: Work, datastore: Datastore) -> bool:
    """Whether want of space is a reason to refuse."""
    return datastore.template.flag("DATASTORE_CAPACITY_CHECK", work.settings.datastore_capacity_check)


def unmeasured(datastore: Datastore) -> Datastore:
    """Its figures are of no use any more: a limit counts what it uses itself, without one its file system counts."""
    return replace(datastore, total_mb=0, free_mb=0, used_mb=0, promised_mb=0)


def available_mb(datastore: Datastore, by_default: bool) -> int | None:
    """MB that may still be written there; None when nobody knows, or nobody is to ask."""
    if not datastore.total_mb or not datastore.template.flag("DATASTORE_CAPACITY_CHECK", by_default):
        return None
    left = datastore.free_mb - datastore.promised_mb
    limit = _limit_mb(datastore)
    return left if limit is None else min(left, limit - datastore.used_mb - datastore.promised_mb)


def insist_on_space(work: Work, datastore: Datastore, needed_mb: int, who: str) -> None:
    """Raises ActionError when there is no room for what ``who`` would write there."""
    if not has_space(work, datastore, needed_mb):
        raise ActionError(_refusal(datastore, needed_mb, who))


def has_space(work: Work, datastore: Datastore, needed_mb: int) -> bool:
    """Whether there is room for so much."""
    left = available_mb(datastore, work.settings.datastore_capacity_check)
    return left is None or needed_mb <= max(0, left)


def promise_space(work: Work, ds_id: int, needed_mb: int) -> None:
    """So much is going to be written there before the next measurement."""
    datastore = work.get(Datastore, ds_id)
    if needed_mb > 0 and available_mb(datastore, work.settings.datastore_capacity_check) is not None:
        work.draft.put(replace(datastore, promised_mb=datastore.promised_mb + needed_mb))


def _refusal(datastore: Datastore, needed_mb: int, who: str) -> str:
    left_mb = available_mb(datastore, True) or 0
    limit = _limit_mb(datastore)
    rule = f" (LIMIT_MB is {limit}, {datastore.used_mb} MB are used)" if limit is not None else ""
    raised = "" if limit is None else "set a higher LIMIT_MB, "
    return (
        f"Not enough space in datastore {datastore.oid} ({datastore.name}): {who} needs {needed_mb} MB, "
        f"{max(0, left_mb)} MB are left{rule}. Free some space, use another datastore, {raised}or set "
        f"DATASTORE_CAPACITY_CHECK = NO with onedatastore update {datastore.oid}."
    )


def needed_on_system_mb(vm: Vm) -> int:
    """What a VM's disks can grow to on a system datastore: all but those that stay in their image."""
    return sum(needed_for_disk_mb(disk) for disk in vm.template.sections("DISK"))


def needed_for_disk_mb(disk: Section) -> int:
    """What one disk can grow to on a system datastore; 0 when it stays in its image."""
    return _size_mb(disk.get("SIZE", "")) if is_written_there(disk) else 0


def is_written_there(disk: Section) -> bool:
    """Whether the disk's contents lie on the system datastore, and not in its image."""
    target = disk.get("CLONE_TARGET" if disk.get("CLONE", "YES").upper() == "YES" else "LN_TARGET", "SYSTEM")
    return "IMAGE_ID" not in disk or target.upper() == "SYSTEM"


def _size_mb(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _limit_mb(datastore: Datastore) -> int | None:
    text = datastore.template.get("LIMIT_MB")
    return int(text) if text.isdecimal() else None


def check_attributes(template: Template) -> None:
    """LIMIT_MB and DATASTORE_CAPACITY_CHECK as a datastore can have them; raises TemplateError."""
    limit = template.get("LIMIT_MB")
    if limit and not (limit.isascii() and limit.isdecimal()):
        raise TemplateError(f'LIMIT_MB must be a whole number of MB, it is "{limit}"; leave it out for no limit.')
    check = template.get("DATASTORE_CAPACITY_CHECK")
    if check and check.upper() not in ("YES", "NO"):
        raise TemplateError(f'DATASTORE_CAPACITY_CHECK must be YES or NO, it is "{check}".')


def is_roomier(before: Datastore | None, after: Datastore) -> bool:
    """VMs that found no place may find one now."""
    if before is None or before.state is not after.state or before.template != after.template:
        return True
    return after.free_mb - after.promised_mb > before.free_mb - before.promised_mb
