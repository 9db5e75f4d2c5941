"""The words of the transition table: what a row may require (Guard) and what it may change (Change)."""

from enum import Enum, auto


class Guard(Enum):
    """A condition on the VM and the facts; :mod:`.guards` says how it is checked and what a refusal says."""

    ALWAYS = auto()
    MOVABLE = auto()
    """No host at all may run the VM, not even the target: its files are about to be made or moved."""
    MOVABLE_STOPPED = auto()
    """The same, and the VM was stopped: its checkpoint and disks are on the front-end."""
    MOVABLE_UNDEPLOYED = auto()
    """The same, and the VM was undeployed: its disks are on the front-end."""
    MOVABLE_ALIVE = auto()
    """Only its own host, which is in touch, may run the VM, and there is a target."""
    STARTABLE_HERE = auto()
    """No other host than the VM's own may run it, and its host is in touch."""
    ONLY_HERE = auto()
    """No other host than the VM's own may run it, and its host is in touch: what ends it there ends it."""
    NOWHERE = auto()
    """No host may run the VM."""
    HOST_IN_TOUCH = auto()
    """The VM's host is not lost, so that a driver can reach it."""
    LEFT_NOWHERE = auto()
    """Apart from the hosts of the order that was carried out, no host may run the VM: its files may be touched."""
    CERTAIN = auto()
    """The driver is certain of what it says."""
    SHUTTING_SOFTLY = auto()
    """The shutdown under way is the guest's own, not a destroy."""
    BY_POWEROFF = auto()
    """The move shuts the guest down first."""
    BY_POWEROFF_HARD = auto()
    """The move destroys the domain first."""
    WITHOUT_CHECKPOINT = auto()
    """The move shut the VM down, softly or not: there is no checkpoint to restore."""
    WITHOUT_CHECKPOINT_DESTINATION_LOST = auto()
    """The same, and the host it was going to is lost."""
    DESTINATION_LOST = auto()
    """The host the VM was going to is lost."""
    SOURCE_DIED = auto()
    """The host proven dead is the one the VM was leaving."""
    DESTINATION_DIED = auto()
    """The host proven dead is the one the VM was going to."""
    ON_FRONTEND = auto()
    """The VM's files are on the front-end."""
    SOURCE_DIED_IN_DOUBT = auto()
    """The same, but a third host may run the VM."""
    FILES_STAYED = auto()
    """The VM was going to another system datastore, or to a host with files of its own: they are where it came from."""
    SOURCE_DIED_WITH_FILES = auto()
    """The host proven dead is the one the VM was leaving, and the VM's files were there alone."""
    RESTORE_IN_DOUBT = auto()
    """The VM may be on its host because it was being restored there; perhaps it is held and does not run yet."""
    TAKEN_FOR_OFF = auto()
    """The same as ONLY_THERE, and it was monitoring that took the VM for powered off."""
    BOTH_DIED = auto()
    """The VM was changing its datastore on the host that is proven dead."""
    DIED_LAST = auto()
    """No other host than the one proven dead may run the VM."""
    FOUND_PAUSED = auto()
    """The VM is SUSPENDED because its domain was found paused: there is no checkpoint."""
    CHECKPOINT_GONE = auto()
    """The driver says that there is no checkpoint, or that it was used: nothing can be restored."""
    HELD = auto()
    """The VM was created on hold."""
    COLD_NIC_ATTACH = auto()
    """The driver attaches NICs to VMs that are off."""
    ONLY_THERE = auto()
    """No other host than the one that reports the VM may run it."""


class Change(Enum):
    """A change to the VM; :mod:`.changes` holds one small function for each."""

    OPEN_RECORD = auto()
    COPY_RECORD = auto()
    COPY_RECORD_RESUME = auto()
    COPY_RECORD_OPERATION = auto()
    COPY_RECORD_OPERATION_OFF = auto()
    REOPEN_SOURCE = auto()
    REOPEN_SOURCE_RUNNING = auto()
    CLOSE_RECORD = auto()
    STAY_GOES_ON = auto()
    """A stay that had ended with a failed start from the front-end is open again."""
    CLOSE_RECORD_NOW = auto()
    CLOSE_PREVIOUS = auto()
    CLOSE_PREVIOUS_IF_OPEN = auto()
    TAKE_CAPACITY = auto()
    GIVE_CAPACITY = auto()
    GIVE_DESTINATION = auto()
    GIVE_PREVIOUS = auto()
    PROLOG_STARTS = auto()
    PROLOG_ENDS = auto()
    RUN_STARTS = auto()
    RUN_ENDS = auto()
    RUN_ENDS_IF_OPEN = auto()
    LEG_ENDS = auto()
    EPILOG_STARTS = auto()
    EPILOG_ENDS = auto()
    BOOTED = auto()
    MAY_RUN_HERE = auto()
    STOPPED_HERE = auto()
    STOPPED_AT_SOURCE = auto()
    STOPPED_AT_DESTINATION = auto()
    PROVEN_STOPPED = auto()
    SET_RESCHED = auto()
    DROP_RESCHED = auto()
    SOFTLY = auto()
    HARDLY = auto()
    ACTION_MIGRATE = auto()
    ACTION_MIGRATE_BOTH = auto()
    ACTION_POFF_MIGRATE_BOTH = auto()
    ACTION_POFF_HARD_MIGRATE_BOTH = auto()
    ACTION_LIVE_MIGRATE_PREVIOUS = auto()
    ACTION_POWEROFF = auto()
    ACTION_POWEROFF_HARD = auto()
    ACTION_SUSPEND = auto()
    ACTION_STOP = auto()
    ACTION_UNDEPLOY = auto()
    ACTION_UNDEPLOY_HARD = auto()
    ACTION_TERMINATE = auto()
    ACTION_TERMINATE_HARD = auto()
    ACTION_DELETE = auto()
    ACTION_RECREATE = auto()
    ACTION_MONITOR = auto()
    ACTION_AS_PARKED = auto()
    CLEAR_ACTION = auto()
    BEGIN_OPERATION = auto()
    COMPLETE_OPERATION = auto()
    UNDO_OPERATION = auto()
    DROP_SNAPSHOTS = auto()
    FORGET_DEPLOY_ID = auto()
    END = auto()
    FORGET = auto()
