"""``python -m holdfast`` is ``holdfast``."""

import sys

from holdfast.cli.entry import holdfast

if __name__ == "__main__":
    sys.exit(holdfast())
