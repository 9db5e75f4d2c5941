"""``holdfast demo``: loses a host of a real rack, twice, and shows how its VMs come back.

:mod:`.acts` plays one act, :mod:`.follow` watches it through the API, :mod:`.findings` holds what was seen and
judges it, :mod:`.screen` prints it.
"""
