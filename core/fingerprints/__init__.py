"""Mean maps of attacks over frequency and time, and what two of them differ in."""
