"""Run folders of the training while they grow, their curves, publishing as detectors."""
