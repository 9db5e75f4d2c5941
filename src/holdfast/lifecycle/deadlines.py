"""How long each driver step may take, in seconds, before it has failed by itself (design section 4)."""

from holdfast.model.enums import EffectKind

DEADLINE_S: dict[EffectKind, float] = {
    EffectKind.TM_PROLOG: 3600.0,
    EffectKind.TM_MIGRATE: 3600.0,
    EffectKind.TM_EPILOG: 3600.0,
    EffectKind.TM_DELETE: 600.0,
    EffectKind.VMM_DEPLOY: 90.0,
    EffectKind.VMM_SHUTDOWN: 120.0,
    EffectKind.VMM_CANCEL: 60.0,
    EffectKind.VMM_CLEANUP: 30.0,
    EffectKind.VMM_REBOOT: 30.0,
    EffectKind.VMM_RESET: 30.0,
    EffectKind.IMAGE_CREATE: 3600.0,
    EffectKind.IMAGE_DELETE: 600.0,
    EffectKind.FENCE_OFF: 60.0,
    EffectKind.FENCE_STATUS: 5.0,
    EffectKind.HOOK: 600.0,
}
