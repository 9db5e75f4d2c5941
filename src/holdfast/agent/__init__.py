"""The small program on every host: tells the controllers, each second, that the host lives and which VMs run on it.

It imports the standard library and holdfast.model only, so that it can be copied to a host alone.  The thread that
sends beacons touches nothing but sockets and memory; whatever can hang (storage, /proc, libvirtd, the log) has its
own thread.
"""
