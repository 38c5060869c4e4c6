"""The Earwitness library: decode, score, store, explain. Never imports streamlit, pages or training."""

import os

__version__ = "0.1.0"

# ONNX Runtime (since 1.29) tells its makers which networks are run, unless this is set before it is loaded.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
