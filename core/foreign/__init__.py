"""Networks made elsewhere: checked, imported, calibrated."""
