"""Earwitness on the command line: `python -m core COMMAND`."""

from __future__ import annotations

import sys

from core.commands.program import main

if __name__ == "__main__":
    sys.exit(main())
