"""What a word means, what detection cannot do, a tutorial per user. `?doc=NAME` opens a document."""

from __future__ import annotations

from pages.components.document_view import choose_document, show_document
from pages.components.frame import open_page, telling_failures

open_page("Help", icon="📖", lead="What a word means, what detection cannot do, and a tutorial for each kind of work.")
with telling_failures():
    show_document(choose_document())
