"""A rack of real hosts on one machine, for the demo, the tests and drills.

Each host is a set of Linux namespaces with its own libvirtd and QEMU guests; power, cables, BMCs and storage are real
enough to fail in the ways that count.  `rack` is the way in, `cli` the command line; the rest works for them.
"""
