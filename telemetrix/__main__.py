"""`python -m telemetrix`."""

import sys

from telemetrix.cli import main

sys.exit(main())
