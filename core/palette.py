"""The colours of all figures, after Okabe and Ito (2002), "Color Universal Design": told apart by the colour-blind. Draws nothing.

Those of data are shaded to be legible on the light and on the dark theme; words or shapes always stand beside them.
"""

from __future__ import annotations

ORANGE, BLUE, GREY, GREEN, OCHRE, PURPLE = "#D55E00", "#1F83C2", "#8C8C8C", "#0A8F67", "#B07F00", "#B5609A"
VIOLET, TEAL = "#7A6FD0", "#3E9FB3"
DEEP_BLUE, SKY, PALE_BLUE, BLUISH_GREEN, PINK = "#0072B2", "#56B4E9", "#7FB2D6", "#009E73", "#CC79A7"
PAPER, AMBER, MARK = "#F4F1EA", "#E8833A", "#00B3A4"
"""The middle of diverging scales; parts that are pointed out; the line of the player and boxes."""
