"""``python -m holdfast`` is ``holdfast``."""

import sys

from holdfast.cli.holdfast import main

sys.exit(main())
