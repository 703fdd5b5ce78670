"""``python -m pytest_diagnostics`` is ``pytest-diagnostics``."""

from __future__ import annotations

import sys

from .cli import main

sys.exit(main())
