"""One recording as a detector sees it: verdict, score, timeline, player, warnings, metadata, downloads."""

from __future__ import annotations

import streamlit as st

from core.checkpoints import Detector, DetectorManifest
from core.errors import DECODER_FAILURES, AudioRefusal
from core.familiarity import load_familiarity, warning_words
from core.figures import recording_figure, timeline_figure
from core.preview import PART_S, part_starts, part_with_highest
from core.records import AudioInfo, Detection, Verdict, is_unfamiliar
from core.reports import (
    clock_words,
    figure_words,
    file_words,
    markdown_table,
    probability_words,
    recording_json,
    segments_csv,
    verdict_words,
)
from core.terms import TERMS, WARNINGS, explained
from pages.components import resources
from pages.components.frame import escaped, plain
from pages.components.telephone_advice import advise_on_recording

_STYLE = {
    Verdict.SPOOF: (st.error, ":material/warning:"),
    Verdict.INCONCLUSIVE: (st.warning, ":material/help:"),
    Verdict.BONA_FIDE: (st.info, ":material/check_circle:"),
    Verdict.REFUSED: (st.warning, ":material/block:"),
}
_WHAT_TO_DO = (
    "What to do: listen whether it is speech at all, and what lies over it (a line, music, noise, a room). **Stress test** shows "
    "what such changes do to its verdict, another detector may know such recordings, and with labels for some of them "
    "**Batch audit** calibrates this one anew. The verdict stays as it is."
)


def show_detections(
    path: str | None,
    name: str,
    sha256: str | None,
    info: AudioInfo | None,
    detections: tuple[Detection, ...],
    detector: Detector,
    *,
    key: str,
    plays: bool = False,
) -> None:
    """Shows all channels of a recording, each with its evidence, then what the file is.

    Args:
        path: where the file is now; None where it moved or changed, so that it is neither drawn nor played.
        name: what to call it.
        key: prefix of the widgets' keys, unique on the page.
        plays: whether a recording with one channel is heard at once.
    """
    if len(detections) > 1:
        tabs = st.tabs([f"Channel {detection.channel}: {detection.verdict}" for detection in detections])
        for tab, detection in zip(tabs, detections, strict=True):
            with tab:
                _show_channel(path, sha256, detection, detector, key=f"{key}-{detection.channel}")
    else:
        _show_channel(path, sha256, detections[0], detector, key=key, plays=plays)
    _show_file(name, sha256, info, detections, detector, key=key)


def _show_channel(
    path: str | None, sha256: str | None, detection: Detection, detector: Detector, *, key: str, plays: bool = False
) -> None:
    box, icon = _STYLE[detection.verdict]
    box(f"**{verdict_words(detection)}**", icon=icon)
    if detection.verdict is Verdict.REFUSED:
        st.text(detection.reason)
    else:
        _show_numbers(detection, detector)
    for code in detection.warnings:
        if code != "unfamiliar":
            st.caption(f":material/info: {WARNINGS[code]}")
    advise_on_recording(detection.warnings, detector)
    _show_familiarity(detection, detector)
    if path is None or sha256 is None or detection.reason_code in DECODER_FAILURES:
        return
    start_s = _choose_part(detection, detector.manifest, key=key) if detection.duration_s > PART_S else 0.0
    try:
        preview, sound = resources.part(path, sha256, detection.channel, start_s)
    except AudioRefusal as refusal:
        if detection.verdict is not Verdict.REFUSED:
            st.caption("The recording cannot be shown or played now; its scores are from the store.")
            st.text(str(refusal))
        return
    st.audio(sound, format="audio/wav", autoplay=plays)
    manifest = detector.manifest
    figure = recording_figure(preview, detection.segments, manifest.thresholds, score_words=manifest.score_words)
    st.plotly_chart(figure, key=f"{key}-figure", alt="Waveform, spectrogram and segment scores on one time axis")


def _choose_part(detection: Detection, manifest: DetectorManifest, *, key: str) -> float:
    """The timeline of a long recording; returns where the part begins that is heard and drawn."""
    starts = part_starts(detection.duration_s)
    timeline = st.container()
    start_s = st.select_slider(
        f"Heard and drawn below: {PART_S / 60:.0f} minutes from",
        starts,
        part_with_highest(starts, detection.segments),
        format_func=clock_words,
        key=f"{key}-part",
        help="It begins with the part that holds the highest score.",
    )
    if detection.segments:
        figure = timeline_figure(
            detection.segments,
            manifest.thresholds,
            duration_s=detection.duration_s,
            part_s=(start_s, start_s + PART_S),
            score_words=manifest.score_words,
        )
        timeline.plotly_chart(figure, key=f"{key}-timeline", alt="Segment scores over all of the recording")
    return start_s


def _show_familiarity(detection: Detection, detector: Detector) -> None:
    """The warning of a recording that is unlike the training data, with what it is worth; else that there is none, or cannot be."""
    if detection.verdict is Verdict.REFUSED:
        return
    familiarity = load_familiarity(detector)
    if is_unfamiliar(detection.training_distance):
        st.warning(
            f"**Unfamiliar.** {WARNINGS['unfamiliar']} {warning_words(familiarity)}\n\n{_WHAT_TO_DO}", icon=":material/explore:"
        )
    elif familiarity is None:
        st.caption(f":material/explore: {warning_words(None)}")
    elif detection.training_distance is None:
        st.caption(":material/explore: Its distance from the training data was not measured when it was scored.")


def _show_numbers(detection: Detection, detector: Detector) -> None:
    manifest = detector.manifest
    row = st.container(horizontal=True, gap="medium")  # wraps where the window is narrow
    row.metric(manifest.score_words, f"{detection.spoof_score:+.2f}", help=_score_help(manifest), width="content")
    if manifest.calibration and detection.probability is not None:
        row.metric(
            "Probability of spoof",
            probability_words(detection.probability),
            help=f"If {100 * manifest.calibration.prior_spoof:.0f} % of recordings like this were spoofs to begin with. With fewer "
            "spoofs around, it is lower.",
            width="content",
        )
    length = clock_words(detection.duration_s) if detection.duration_s > PART_S else f"{detection.duration_s:.1f} s"
    row.metric("Judged", length, width="content")
    length_s = manifest.window_s
    windows = f"Windows of {length_s:.4g} s, every {length_s / 2:.4g} s; a shorter recording is repeated to fill one."
    row.metric("Segments", f"{len(detection.segments):,}", help=windows, width="content")
    if num_estimated := sum(segment.is_estimated for segment in detection.segments):
        words = (
            "The fast network judged every segment, all networks these: half of them evenly spaced, half those that the fast one "
            "found riskiest. Hover over a segment in the picture to see which it is. A thorough audit judges every segment by all."
        )
        row.metric("By all networks", f"{len(detection.segments) - num_estimated:,}", help=words, width="content")
    if detection.training_distance is not None:
        words = f"In limits: above 1 the recording is unfamiliar. {warning_words(load_familiarity(detector))}"
        row.metric("Distance from training", f"{detection.training_distance:.2f}", help=words, width="content")


def _score_help(manifest: DetectorManifest) -> str:
    words = "As the network gives it, turned so that higher is likelier spoof; it ranks recordings and has no scale."
    if manifest.calibration:
        words = f"Calibrated. {TERMS['Spoof score']} {TERMS['Nats']}"
    if (thresholds := manifest.thresholds) is None:
        return f"{words} No thresholds are known, so that every verdict is inconclusive."
    return f"{words} Spoof from {thresholds.upper:+.2f}, bona fide below {thresholds.lower:+.2f}."


def show_missing_calibration(detector: Detector) -> None:
    """Says so where a detector's scores have no scale, or no verdict can follow from them."""
    if detector.manifest.calibration is not None:
        return
    verdicts = "" if detector.manifest.thresholds else " It has no thresholds either, so that every verdict is inconclusive."
    st.caption(
        f":material/info: **{escaped(detector.name)}** was made elsewhere and is not calibrated: its scores rank recordings, "
        f"but are no log-likelihood ratios, and no probability follows from them.{verdicts}"
    )


def _show_file(
    name: str, sha256: str | None, info: AudioInfo | None, detections: tuple[Detection, ...], detector: Detector, *, key: str
) -> None:
    with st.expander("The file and its measurements"):
        st.text(file_words(plain(name), sha256, info, detections, detector))
        report, table = recording_json(name, sha256, info, detections, detector), segments_csv(detections)
        row = st.container(horizontal=True)
        row.download_button("Download all of it (JSON)", report, "earwitness.json", key=f"{key}-json", on_click="ignore")
        row.download_button("Download the segments (CSV)", table, "segments.csv", key=f"{key}-csv", on_click="ignore")


def show_figures(detector: Detector) -> None:
    """The detector's error rates with their intervals, and its card."""
    st.markdown(f"**{escaped(detector.name)}** `{detector.hash[:12]}`: {escaped(detector.manifest.summary)}")
    measured = [figure for figure in detector.manifest.figures if figure.split.startswith("test")]
    if measured:
        # Text, not `st.dataframe`: that loads pandas, the one thing of Home's that would, for a second.
        head = ("Measured on", "Figure", "Value", "95 % interval", "Bona fide", "Spoof")
        rows = (
            (figure.split, figure.name, *figure_words(figure), f"{figure.num_bona_fide:,}", f"{figure.num_spoof:,}")
            for figure in measured
        )
        st.markdown(markdown_table(head, (map(escaped, row) for row in rows), right=("Value", "Bona fide", "Spoof")))
        st.caption(explained("EER", "Cllr", "95 % interval"))
    else:
        st.caption("No error rates were measured for it here. Audit recordings whose truth is known to see how well it does.")
    with st.expander("The model card"):
        st.markdown(detector.card or "This detector came without a card.")
