"""A detector that computes in lower precision, as a detector of its own: faster, with slightly other scores."""
