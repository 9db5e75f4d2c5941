"""The methods that change hosts, datastores, images, hooks and failovers, as a table (see :mod:`.change`)."""

from __future__ import annotations

from holdfast.api.methods.change import NAME, OID, UPDATE, change
from holdfast.api.methods.method import Call, Method
from holdfast.engine import commands
from holdfast.model.template import EMPTY, Template


def _host_template(call: Call, oid: int) -> Template:
    host = call.state.hosts.get(oid)
    return host.template if host else EMPTY


def _datastore_template(call: Call, oid: int) -> Template:
    datastore = call.state.datastores.get(oid)
    return datastore.template if datastore else EMPTY


METHODS: tuple[Method, ...] = (
    change(
        "one.host.allocate",
        commands.AllocateHost,
        "name:string im_mad:string vm_mad:string cluster_id:int",
        "Registers a host; cluster -1 is the default one.",
    ),
    change("one.host.delete", commands.DeleteHost, OID, "Removes a host that holds no VM."),
    change("one.host.update", commands.UpdateHost, UPDATE, "Replaces or extends a host's template.", _host_template),
    change("one.host.rename", commands.RenameHost, NAME, "Gives a host another name."),
    change(
        "one.host.status",
        commands.SetHostStatus,
        "oid:int status:int",
        "Takes a host into service (0), out of scheduling (1) or offline (2).",
    ),
    change(
        "one.datastore.allocate",
        commands.AllocateDatastore,
        "text:string cluster_id:int",
        "Registers a datastore; cluster -1 is the default one.",
    ),
    change("one.datastore.delete", commands.DeleteDatastore, OID, "Removes an unused datastore."),
    change(
        "one.datastore.update",
        commands.UpdateDatastore,
        UPDATE,
        "Replaces or extends a datastore's template.",
        _datastore_template,
    ),
    change("one.datastore.rename", commands.RenameDatastore, NAME, "Gives a datastore another name."),
    change(
        "one.datastore.enable",
        commands.EnableDatastore,
        "oid:int enable:bool",
        "Lets new VMs use a system datastore, or keeps them off it.",
    ),
    change(
        "one.image.allocate",
        commands.AllocateImage,
        "text:string ds_id:int skip_capacity_check:bool=false",
        "Registers an image in a datastore.",
    ),
    change("one.image.delete", commands.DeleteImage, "oid:int force:bool=false", "Removes an unused image."),
    change("one.image.update", commands.UpdateImage, UPDATE, "Replaces or extends an image's template."),
    change("one.image.rename", commands.RenameImage, NAME, "Gives an image another name."),
    change("one.image.enable", commands.EnableImage, "oid:int enable:bool", "Lets VMs use an image, or forbids it."),
    change(
        "one.image.persistent",
        commands.PersistImage,
        "oid:int persistent:bool",
        "Says whether what a VM writes to its disk stays in the image.",
    ),
    change(
        "one.image.clone",
        commands.CloneImage,
        "oid:int name:string ds_id:int=-1",
        "Copies an image under another name; datastore -1 is its own.",
    ),
    change("one.image.chtype", commands.ChangeImageType, "oid:int type:string", "Says what an image is for."),
    change(
        "one.image.lock",
        commands.LockImage,
        "oid:int level:int test:bool=false",
        "Locks an image: 1 use, 2 manage, 3 admin, 4 all.",
    ),
    change("one.image.unlock", commands.UnlockImage, OID, "Takes the lock off an image."),
    change("one.hook.allocate", commands.AllocateHook, "text:string", "Registers a hook."),
    change("one.hook.delete", commands.DeleteHook, OID, "Removes a hook and its log."),
    change("one.hook.update", commands.UpdateHook, UPDATE, "Replaces or extends a hook's template."),
    change("one.hook.rename", commands.RenameHook, NAME, "Gives a hook another name."),
    change(
        "one.hook.lock",
        commands.LockHook,
        "oid:int level:int test:bool=false",
        "Locks a hook: 1 use, 2 manage, 3 admin, 4 all.",
    ),
    change("one.hook.unlock", commands.UnlockHook, OID, "Takes the lock off a hook."),
    change(
        "one.hook.retry",
        commands.RetryHook,
        "oid:int execution_id:int",
        "Runs a hook again with the arguments of an earlier execution.",
    ),
    change(
        "one.failover.allocate",
        commands.AllocateFailover,
        "host_id:int mode:string flags:string=",
        "Opens the failover of a host: migrate, recreate or delete its VMs.",
    ),
    change("one.failover.retry", commands.RetryFailover, OID, "Goes on where a blocked failover stopped."),
    change(
        "one.failover.confirm",
        commands.ConfirmFailover,
        "oid:int comment:string=",
        "Vouches that the host of a failover is off.",
    ),
    change("one.failover.abort", commands.AbortFailover, OID, "Gives a failover up."),
)
