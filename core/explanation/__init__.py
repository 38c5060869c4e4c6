"""Where a detector looked: maps over recordings, their tests, the evidence heard, what is kept of them."""
