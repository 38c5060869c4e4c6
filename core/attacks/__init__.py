"""Makers of labelled spoofs from bona fide speech. Plain functions, batched, on the samples' device."""
