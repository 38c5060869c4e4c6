"""Stress tests: what a detector says of the same speech after a phone line, a codec, noise, a room. Importing it loads nothing."""
