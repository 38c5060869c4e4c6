"""Making detectors: data, augmentation, recipes, the loop, evaluation. Built on `core` alone."""
