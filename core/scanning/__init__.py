"""Audits of folders: listing, dry run, engines that score, audits without a store, benchmarks."""
