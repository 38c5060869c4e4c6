"""How far a command is, on standard error: a bar on a terminal, a plain line every ten seconds elsewhere."""

from __future__ import annotations

import sys
import time

_LINE_EVERY_S = 10.0


class CountProgress:
    """Told counts, within a `with` block.

    Args:
        unit: what is counted, in the singular.
    """

    def __init__(self, unit: str = "recording") -> None:
        self._unit = unit

    def __enter__(self) -> CountProgress:
        self._bar, self._began, self._told_at = None, time.monotonic(), time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, num_done: int, num: int) -> None:
        """Takes how many are done, of how many."""
        now = time.monotonic()
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = self._bar or tqdm(total=num, unit=self._unit, initial=num_done - 1, dynamic_ncols=True)
            self._bar.update(num_done - self._bar.n)
        elif now - self._told_at >= _LINE_EVERY_S or num_done == num:
            self._told_at = now
            print(f"{num_done} of {num} {self._unit}s, {now - self._began:.0f} s", file=sys.stderr, flush=True)
