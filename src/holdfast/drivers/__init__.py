"""Adapters to the outside world, each behind a port of the engine: hypervisors, storage, fencing, agents, services."""
