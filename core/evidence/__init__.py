"""Case bundles: what an audit found, in files that can be checked without the store, and again from the recordings."""
