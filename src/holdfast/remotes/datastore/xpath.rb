#!/bin/sh
# Prints what XPaths find in a document; the name is the one that driver scripts expect, the program is xpath.py.
exec "${HOLDFAST_PYTHON:-python3}" "${0%/*}/xpath.py" "$@"
