"""The transition table in parts, one for each theme; :mod:`holdfast.lifecycle.table` puts them together."""
