"""How detectors were made: runs side by side, their configurations, the network and its activations, publishing."""

from __future__ import annotations

import streamlit as st

from core.runs.folders import find_runs, runs_folder
from pages.components.frame import open_page, telling_failures
from pages.components.network_view import show_network
from pages.components.publish_form import show_publish
from pages.components.run_configs import show_configs
from pages.components.run_curves import choose_runs, show_curves, show_how_to_start, show_problems

open_page(
    "Training",
    icon="📈",
    lead="See how a detector was made: compare training runs while they run, look into the network, publish a run as a detector.",
)
with telling_failures():
    listing = find_runs(runs_folder())
    show_problems(listing)
    chosen = choose_runs(listing) if listing.runs else ()
    if not listing.runs:
        show_how_to_start()
    curves, configs, network, publish = st.tabs(
        ["Curves", "Configurations", "Network", "Publish"],
        key="view",
        on_change="rerun",
        default=None if listing.runs else "Network",
    )
    if curves.open and chosen:
        with curves:
            show_curves(chosen)
    if configs.open and chosen:
        with configs:
            show_configs(chosen)
    if network.open:
        with network, telling_failures():
            show_network(listing.runs)
    if publish.open:
        with publish, telling_failures():
            show_publish(listing.runs)
