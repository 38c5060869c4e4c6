"""The network of a detector or a run: layers as a table, feature maps in space, lit up by a chosen recording."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core.checkpoints import Detector
from core.detector_config import CLASS_ORDER
from core.networks.activations import MAX_MAPS, Activations, FeatureMaps
from core.networks.anatomy import Anatomy, FeatureBox
from core.networks.figures import feature_map_figure, network_figure
from core.runs.folders import Run
from pages.components import resources
from pages.components.frame import escaped, plain, telling_failures
from pages.components.recording_input import choose_recording


def show_network(runs: tuple[Run, ...]) -> None:
    """Everything about one network.

    Args:
        runs: what is offered beside the installed detectors.
    """
    left, right = st.columns(2)
    with left:
        source = _choose_source(runs)
    if source is None:
        st.info("No detector is installed and no run has begun: there is no network to show.")
        return
    anatomy = resources.network(source).anatomy
    boxes = anatomy.boxes()
    with right:
        box = _choose_box(boxes)
    _show_totals(anatomy)
    activations = _show_picture(source, boxes, box)
    _show_layers(anatomy, activations)


def _choose_source(runs: tuple[Run, ...]) -> Detector | Run | None:
    detectors = sorted(resources.detectors(), key=lambda detector: detector.is_foreign)  # which cannot be looked into
    # Each network of a fusion by itself: they are shown different things.
    sources: list[Detector | Run] = [*(branch for detector in detectors for branch in detector.branches), *runs]
    names = [_name_of(source) for source in sources]
    if not sources:
        return None
    chosen = st.selectbox("Network of", names, key="network")
    return sources[names.index(chosen)]


def _name_of(source: Detector | Run) -> str:
    if not isinstance(source, Detector):
        return f"Run: {plain(source.name)}"
    part = "" if source.branch is None else f", its {source.manifest.model}"
    return f"Detector: {plain(source.name)}{part}"


def _show_totals(anatomy: Anatomy) -> None:
    channels, rows, columns = anatomy.image_shape
    row = st.container(horizontal=True, gap="medium")  # wraps where the window is narrow
    row.metric("Parameters", f"{anatomy.num_parameters:,}", width="content")
    macs_help = "Multiply-accumulates for one segment of 4 s, in convolutions and dense layers."
    at_least = "" if anatomy.has_all_macs else "> "
    row.metric("MACs", f"{at_least}{anatomy.num_macs / 1e6:,.1f} M", help=macs_help, width="content")
    row.metric("Layers", f"{len(anatomy.layers)}", width="content")
    row.metric("Image", f"{channels} x {rows} x {columns}", help="Channels x rows (frequency) x columns (time).", width="content")


def _choose_box(boxes: tuple[FeatureBox, ...]) -> FeatureBox:
    names = [f"{i}: {box.title}, {box.num_channels} x {box.height} x {box.width}" for i, box in enumerate(boxes)]
    help_text = "What a convolution, a pool or a dense layer makes, after the normalisation and non-linearity that follow it."
    chosen = st.selectbox("Feature map to look into", names, index=min(1, len(names) - 1), key="box", help=help_text)
    return boxes[names.index(chosen)]


def _show_picture(source: Detector | Run, boxes: tuple[FeatureBox, ...], box: FeatureBox) -> Activations | None:
    """The boxes, and with a recording their activations; without one, or with one that cannot be judged, they stay plain."""
    with choose_recording(first="A sample", offers_channels=False) as recording:
        activations = None
        if recording is None:
            st.caption("Choose a recording: the boxes light up with what the network makes of it.")
        else:
            with telling_failures():
                shown, activations = resources.seen_by(source, recording.path)
                where = f"{shown.start_s:.1f} to {shown.start_s + 4:.1f} s"
                st.caption(f"{escaped(recording.name)}, {where}: the first window with enough sound.")
        figure = network_figure(boxes, activations=activations, chosen=boxes.index(box))
        words = "The network's feature maps as boxes, from the image to the logits"
        st.plotly_chart(figure, key="network-figure", alt=words)
        meaning = "height and width are its rows and columns, depth its channels, both logarithmic"
        colour = "; colour is the mean absolute activation" if activations else ""
        st.caption(
            f"A box is a feature map: {meaning}{colour}. Turn it with the mouse, zoom with the wheel, point at a box to read it."
        )
        if activations and recording:
            _show_maps(box, resources.maps_of(source, recording.path, box))
    return activations


def _show_maps(box: FeatureBox, maps: FeatureMaps) -> None:
    st.header(escaped(f"What {box.title} makes of the recording"))
    if box.num_channels == len(CLASS_ORDER) and box.height * box.width == 1:
        st.caption("The logits: " + ", ".join(f"{i} is {name}" for i, name in enumerate(CLASS_ORDER)) + ".")
    elif maps.num_channels > len(maps.channels):
        st.caption(
            f"The {MAX_MAPS} most active of {maps.num_channels} channels, the strongest first; frequency rises, time to the right."
        )
    elif box.height * box.width > 1:
        st.caption("The strongest channel first; frequency rises, time to the right.")
    st.plotly_chart(feature_map_figure(maps), key="maps-figure", alt="Feature maps of the chosen layer")


def _show_layers(anatomy: Anatomy, activations: Activations | None) -> None:
    st.header("Layers")
    rows = [
        {
            "Layer": layer.name,
            "Kind": layer.kind,
            "Output": " x ".join(map(str, layer.shape)),
            "Parameters": layer.num_parameters,
            "MACs": layer.num_macs,
            "Share of MACs": 100 * (layer.num_macs or 0) / max(1, anatomy.num_macs),
        }
        | ({"Mean |activation|": activations.levels[i]} if activations else {})
        for i, layer in enumerate(anatomy.layers)
    ]
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        column_config={
            "Output": st.column_config.TextColumn(help="Channels x rows x columns."),
            "Parameters": st.column_config.NumberColumn(format="localized"),
            "MACs": st.column_config.NumberColumn(format="localized", help="Multiply-accumulates for one segment."),
            "Share of MACs": st.column_config.ProgressColumn(min_value=0, max_value=100, format="%.1f %%"),
            "Mean |activation|": st.column_config.NumberColumn(format="%.4f"),
        },
        alt="Layers of the network with output shape, parameters and multiply-accumulates",
    )
