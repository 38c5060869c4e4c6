"""A network's layers, and what a recording makes them do."""
