"""The nouns: VM, host, datastore, image, hook, user, failover, effect; their enumerations; the template language.

Immutable values without I/O.  Everything else in Holdfast imports from here; this floor imports nothing of ours.
"""
