"""The XML-RPC server that OpenNebula's clients talk to: reads come from the committed state, changes go to the engine.

``app`` is the ASGI application and ``server`` runs it; ``responder`` takes a request through ``xmlrpc`` (the codec),
``auth`` (who asks), ``methods`` (what exists, as data) and ``views`` (objects as XML).
"""
