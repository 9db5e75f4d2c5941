"""Programs that hooks run.  ``ft/host_error`` is the failover hook; its parts are the modules beside this file.

They use the standard library, :mod:`holdfast.cli` (the API client and the option parser) and nothing else, because a
hook executor starts them without any environment.
"""
