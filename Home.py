"""Check one recording; see recent audits and the detector in use."""

from __future__ import annotations

from pages.components.frame import open_page

open_page(
    "Check one recording",
    icon="👂",
    lead="Drop a recording, speak one, or try a sample. You get a verdict, how sure it is, and where in the recording it lies.",
)

# Only now: the title is seen while this is loaded.
from pages.components.home import show_home  # noqa: E402

show_home()
