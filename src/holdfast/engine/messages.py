"""The words in which a VM's failures are told, in its log and in its ERROR attribute: they begin as OpenNebula's do."""

from __future__ import annotations

import re
from datetime import datetime, tzinfo

from holdfast.model.effect import Effect
from holdfast.model.enums import EffectKind
from holdfast.model.free_text import printable, shortened, without_secrets

_DATED = re.compile(r"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}: ")
ERROR_LIMIT = 2000
"""Characters of a failure's text: of a longer one, the beginning and the end."""


def failure_of(effect: Effect) -> str:
    """Why the effect of a VM failed."""
    said = effect.message or "its driver gave no reason"
    if effect.kind.value.startswith("tm."):
        return _told(f"Error executing image transfer script: {said}")
    return _told(f"{action_of(effect.kind)}: {said}")


def action_of(kind: EffectKind) -> str:
    """OpenNebula's name of a hypervisor action: DEPLOY, ATTACHDISK."""
    return kind.value.removeprefix("vmm.").replace("_", "").upper()


def dated(text: str, now: float, zone: tzinfo | None) -> str:
    """The text of an ERROR attribute; ``zone`` None is that of this machine."""
    return f"{datetime.fromtimestamp(now, zone):%a %b %e %H:%M:%S %Y}: {_told(text)}"


def undated(text: str) -> str:
    """The text of an ERROR attribute without its date."""
    return text.partition(": ")[2] if _DATED.match(text) else text


def _told(text: str) -> str:
    return shortened(without_secrets(printable(text)), ERROR_LIMIT)
