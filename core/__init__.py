"""The Earwitness library: decode, score, store, explain. Never imports streamlit, pages or training."""

__version__ = "0.1.0"
