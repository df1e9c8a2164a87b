"""`python -m mamp` is `mamp`."""

import sys

from mamp.cli import main

sys.exit(main())
