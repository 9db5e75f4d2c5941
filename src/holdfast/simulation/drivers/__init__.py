"""Simulated drivers of every effect kind: what the real ones do and say, with delays, failures and unknown outcomes.

Each driver is a function from order to script; the script returns the Answer, and is killed when the effect is
superseded or the controller dies.  ``certain`` is only ever said of what was seen.
"""
