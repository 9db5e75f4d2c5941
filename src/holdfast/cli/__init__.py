"""The OpenNebula-style commands: ``onevm``, ``onehost``, ``onehook``, ``oneimage``, ``onedatastore``.

From the bottom up: :mod:`wire`, :mod:`connection` and :mod:`rpc` talk to the server; :mod:`xmltree`, :mod:`structured`
and :mod:`pretty` read its documents; :mod:`options`, :mod:`grammar` and :mod:`usage` understand the command line;
:mod:`table`, :mod:`listing` and :mod:`screen` print.  One module per command puts these together.
Standard library and :mod:`holdfast.model` only, so that a command starts at once.
"""
