"""The single writer: takes one event at a time, asks the pure floors what to do, stores it, and hands out the effects.

The engine owns no thread, clock or random number; ``holdfast serve`` runs it on asyncio, a simulation on a heap of
events.
"""
