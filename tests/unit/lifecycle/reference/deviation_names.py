"""Why Holdfast differs from a row: what the deviations are called."""

ABANDONED = "answers of abandoned operations (transitions §1.4, B7, B17)"
UNKNOWN_FAILURE = "UNKNOWN, recover `--failure` (B1)"
NO_DEPLOY_ID = "`--success` without DEPLOY_ID (B2)"
ROLLBACK = "rollback of a poweroff-style migration (B3)"
WRONG_STEP = "`--retry` in BOOT_UNDEPLOY (B4), SAVE_MIGRATE (B5), EPILOG from STOPPED/UNDEPLOYED (B6)"
OLD_HOST = "`--failure` on PROLOG_MIGRATE_UNKNOWN_FAILURE (B8)"
DETACH = "hung detach recovered as attach (B9)"
ZOMBIES = "stuck CLEANUP_RESUBMIT, zombie domains after delete (B10–B14, B16, A4, A5)"
LEAK = "capacity leak of delete-db in MIGRATE (B15)"
DEAD_HOST = "actions on an UNKNOWN VM of a dead host (B23)"
RACES = "RESCHED races (B25, B26, W12, W13)"
PROOF = "ADR 3"
"""No start without proof."""
WHOLE = "ADR 12"
"""The whole lifecycle: where it differs."""

NAMES = (
    *(ABANDONED, UNKNOWN_FAILURE, NO_DEPLOY_ID, ROLLBACK, WRONG_STEP, OLD_HOST, DETACH, ZOMBIES, LEAK, DEAD_HOST),
    *(RACES, PROOF, WHOLE),
)
