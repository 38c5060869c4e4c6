"""Earwitness on the command line: `python -m core COMMAND`."""

from __future__ import annotations

import sys


def _main() -> int:
    from core.commands.program import main

    return main()


if __name__ == "__main__":
    # Nothing else is imported before the scoring process is forked.
    from core.scanning.supervision import supervised

    sys.exit(supervised(_main) if sys.argv[1:2] in (["scan"], ["worker"]) else _main())
