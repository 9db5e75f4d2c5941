"""The composition root of production: wires the engine to asyncio, the drivers, the agents' beacons and the API.

:mod:`.controller` is the asyncio shell of the engine, :mod:`.dispatch` takes effects to drivers, :mod:`.watch` keeps
hosts under observation, :mod:`.daemon` builds all of it from a :class:`~holdfast.serve.config.Config`.
"""
