"""The shortcut audit: what trivial features alone give away, and what a detector makes of them. Importing it loads nothing."""
