"""`python -m rye_telemetry`."""

from __future__ import annotations

import sys

from rye_telemetry.entry import main

sys.exit(main())
