"""What to look for on the Saliency page: one map or two side by side; detector, method, layer, target; how strongly it is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from core.checkpoints import Detector
from core.explanation.records import METHOD_NAMES, TARGET_NAMES, TARGETS, Method, Target, available_methods
from pages.components import resources
from pages.components.frame import escaped, plain

_VIEWS = ("One map", "Two detectors", "Two methods")
_METHOD_HELP = (
    "**Grad-CAM** weighs a layer's feature maps by what they do to the score: quick and coarse. **Integrated gradients** adds up "
    "gradients on the way from silence to the recording: fine and noisy. **Occlusion** hides patches and looks: slow, needs no "
    "gradients, and assumes nothing about the network."
)
_TARGET_HELP = "Evidence for what? Most often: what speaks for spoof rather than for bona fide."
_LAYER_HELP = "A convolutional layer, the deepest first. Shallow layers see edges, deep ones what the detector decides by."


@dataclass(frozen=True, slots=True)
class MapChoice:
    """One map to be made."""

    detector: Detector
    method: Method
    layer: str | None
    target: Target


@dataclass(frozen=True, slots=True)
class Choices:
    """What is to be shown."""

    maps: tuple[MapChoice, ...]
    """One, or two side by side."""
    opacity: float


def choose_maps(suggested: Detector) -> Choices | None:
    """Widgets for all of it; None where a choice cannot be made, with words on what to do.

    Args:
        suggested: the detector that comes first.
    """
    top = st.container(horizontal=True, vertical_alignment="bottom")
    with top:
        view = st.segmented_control("Show", _VIEWS, default=_VIEWS[0], required=True, key="saliency-view")
        target = st.selectbox(
            "Evidence for", TARGETS, format_func=TARGET_NAMES.__getitem__, key="saliency-target", help=_TARGET_HELP, width=240
        )
        opacity = st.slider("Opacity of the map (%)", 0, 100, 70, step=5, key="saliency-opacity", width=240)
    detectors = [suggested, *(detector for detector in resources.detectors() if detector.hash != suggested.hash)]
    if view == "Two detectors" and len(detectors) < 2:
        st.info(
            "Only one detector is installed, so there is nothing to hold it against. Publish a run on the **Training** page or "
            "import an ONNX file on **Home**; or compare **Two methods** of this detector.",
            icon=":material/compare:",
        )
        return None
    num = 1 if view == "One map" else 2
    columns = st.columns(num, gap="medium")
    maps = []
    for i, column in enumerate(columns):
        with column:
            maps.append(_choose_map(detectors, target, number=i, view=view, first=maps[0] if maps else None))
    if view == "Two methods" and len(available_methods(maps[0].detector)) < 2:
        st.info("This detector allows one method only. Choose another detector, or hold **Two detectors** against each other.")
        return None
    return Choices(tuple(maps), opacity / 100)


def _choose_map(detectors: list[Detector], target: Target, *, number: int, view: str, first: MapChoice | None) -> MapChoice:
    """A row of widgets for one map; what it shares with the first one is not asked twice."""
    key = f"saliency-{view.split()[-1]}-{number}"
    row = st.container(horizontal=True, vertical_alignment="bottom")
    with row:
        if first is not None and view == "Two methods":
            detector = first.detector
        else:
            start = min(number, len(detectors) - 1)
            chosen = st.selectbox(
                "Detector", range(len(detectors)), start, format_func=lambda i: plain(detectors[i].name), key=f"{key}-detector"
            )
            detector = detectors[chosen]
        methods = available_methods(detector)
        if first is not None and view == "Two detectors" and first.method in methods:
            method = first.method
        else:
            others = [method for method in methods if view != "Two methods" or first is None or method != first.method]
            method = st.selectbox(
                "Method",
                others or methods,
                format_func=METHOD_NAMES.__getitem__,
                key=f"{key}-method-{len(others)}",
                help=_METHOD_HELP,
            )
        layer = _choose_layer(detector, key=key) if method == "grad_cam" else None
    if detector.is_foreign:
        st.caption(
            f":material/info: **{escaped(detector.name)}** was made elsewhere: its gradients cannot be had, only occlusion works."
        )
    return MapChoice(detector, method, layer, target)


def _choose_layer(detector: Detector, *, key: str) -> str | None:
    layers = resources.layers_of(detector.hash, detector)[::-1]
    if not layers:
        return None
    names = dict(zip(layers, layers)) | {layers[-1]: f"{layers[-1]} (first)", layers[0]: f"{layers[0]} (deepest)"}
    return st.selectbox(
        "Layer", layers, format_func=names.__getitem__, key=f"{key}-layer-{detector.hash[:8]}", help=_LAYER_HELP, width=200
    )
