"""The durable copy of the engine's state: ``SqliteStore`` for a controller, ``MemoryStore`` for tests and simulations.

Nothing outside this floor knows which database it is; what it promises is ``engine.ports.Store``.
"""
