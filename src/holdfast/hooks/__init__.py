"""Hooks: which ones a state change wakes (:mod:`.match`), and their execution (:mod:`.executor`, :mod:`.driver`).

An execution is an effect of the engine's journal: it is stored together with the change that woke it, so it happens at
least once whatever dies in between.  The log of executions is stored by the engine.
"""
