"""The words of the transition table: what a row may require (Guard) and what it may change (Change)."""

from enum import Enum, auto


class Guard(Enum):
    """A condition on the VM and the facts; :mod:`.guards` says how it is checked and what a refusal says."""

    ALWAYS = auto()
    STARTABLE = auto()
    """No other host than the target may run the VM."""
    MOVABLE = auto()
    """No host at all may run the VM, not even the target: its files are about to move."""
    STARTABLE_HERE = auto()
    """No other host than the VM's own may run it, and its host is in touch."""
    NOWHERE = auto()
    """No host may run the VM."""
    HOST_IN_TOUCH = auto()
    """The VM's host is not lost, so that a driver can reach it."""
    STOPPED_FOR_CERTAIN = auto()
    """The driver is certain that its order took effect, or no host may run the VM anyway."""
    SHUTTING_SOFTLY = auto()
    """The shutdown under way is the guest's own, not a destroy."""


class Change(Enum):
    """A change to the VM; :mod:`.changes` holds one small function for each."""

    OPEN_RECORD = auto()
    COPY_RECORD = auto()
    COPY_RECORD_RESUME = auto()
    REOPEN_PREVIOUS = auto()
    CLOSE_RECORD = auto()
    CLOSE_RECORD_MOVED = auto()
    TAKE_CAPACITY = auto()
    GIVE_CAPACITY = auto()
    PROLOG_STARTS = auto()
    PROLOG_ENDS = auto()
    RUN_STARTS = auto()
    RUN_ENDS = auto()
    RUN_ENDS_IF_OPEN = auto()
    EPILOG_STARTS = auto()
    EPILOG_ENDS = auto()
    BOOTED = auto()
    MAY_RUN_HERE = auto()
    STOPPED_HERE = auto()
    STOPPED_IF_CERTAIN = auto()
    PROVEN_STOPPED = auto()
    SET_RESCHED = auto()
    DROP_RESCHED = auto()
    SOFTLY = auto()
    HARDLY = auto()
    ACTION_POWEROFF = auto()
    ACTION_POWEROFF_HARD = auto()
    ACTION_TERMINATE = auto()
    ACTION_TERMINATE_HARD = auto()
    ACTION_DELETE = auto()
    ACTION_RECREATE = auto()
    ACTION_MONITOR = auto()
    CLEAR_ACTION = auto()
    FORGET_DEPLOY_ID = auto()
    END = auto()
