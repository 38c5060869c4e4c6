"""One recording's survival card: its verdict under every condition, the smallest change that flips it, and how that sounds."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core.checkpoints import Detector
from core.errors import AudioRefusal
from core.explanation.excerpts import MAX_EXCERPT_S, Excerpt
from core.preview import wav_bytes
from core.stress.conditions import CONDITIONS, FAMILY_TITLES
from core.stress.records import SurvivalCard
from core.stress.survival_figures import survival_figure, survival_frame
from pages.components import resources
from pages.components.detector_picker import pick_detector
from pages.components.figure_view import show_figure
from pages.components.frame import escaped, telling_failures
from pages.components.recording_input import ChosenRecording
from pages.components.stress_subject import choose_stressed


def show_recording_tab() -> None:
    """Choosing a recording, and its card."""
    with choose_stressed() as chosen:
        detector = pick_detector(key="stress-detector")
        if chosen is None:
            st.info(
                "Nothing chosen yet. Try a sample, drop a file, or open a file of a **Batch audit** and follow its link to here.",
                icon=":material/arrow_upward:",
            )
            return
        with telling_failures():
            _show_card(chosen, detector)


def _show_card(chosen: ChosenRecording, detector: Detector) -> None:
    sha256 = resources.content_hash(chosen.path)
    if sha256 is None:
        raise AudioRefusal("unreadable", f"{chosen.name} cannot be read. Choose another recording.")
    excerpt = resources.excerpt(chosen.path, sha256, "mix", 0.0)
    if excerpt.recording_s > MAX_EXCERPT_S:
        st.caption(f":material/content_cut: All of this is about the first {MAX_EXCERPT_S:.0f} s of the recording.")
    card = _card(sha256, excerpt, detector)
    _show_head(card, detector)
    manifest = detector.manifest
    show_figure(
        survival_figure(card, manifest.thresholds, score_words=manifest.score_words),
        key="stress-card",
        words=f"The score under each of {len(card.rows)} conditions; the verdict stays under {card.num_survived}",
        numbers=survival_frame(card),
    )
    st.caption("Full: called spoof; empty: bona fide; with a dot: inconclusive. Point at a row to read what was done.")
    _show_flips(card)
    _show_sounds(card, sha256, excerpt)


def _card(sha256: str, excerpt: Excerpt, detector: Detector) -> SurvivalCard:
    bar = st.empty()

    def tell(done: int, total: int) -> None:
        words = f"Stressing: {done} of {total} conditions" if done < total else "Stressing: done"
        bar.progress(done / max(1, total), text=words)

    card = resources.survival_card(sha256, detector, excerpt, on_progress=tell)
    bar.empty()
    return card


def _show_head(card: SurvivalCard, detector: Detector) -> None:
    row = st.container(horizontal=True, gap="medium")
    row.metric(
        detector.manifest.score_words, f"{card.score:+.2f}", card.verdict, delta_arrow="off", delta_color="off", width="content"
    )
    row.metric("Survives", f"{card.num_survived} of {len(card.rows)}", help="Conditions under which it stays.", width="content")
    if card.survives_phone is not None:
        words = "All telephone lines that were tried: land lines, mobile phones."
        row.metric("Survives a phone call", "yes" if card.survives_phone else "no", help=words, width="content")
    if card.num_survived == len(card.rows):
        st.success(escaped(card.words), icon=":material/verified:")
    else:
        st.warning(escaped(card.words), icon=":material/published_with_changes:")
    missing = [row.reason for row in card.rows if row.condition.name in CONDITIONS and row.reason and row.score is None]
    for words in dict.fromkeys(missing):
        st.caption(f":material/block: {escaped(words)}")


def _show_flips(card: SurvivalCard) -> None:
    st.header("The smallest change that flips it", anchor=False)
    ordered = sorted(card.smallest_flip, key=lambda flip: flip.condition is None)
    frame = pd.DataFrame(
        {
            "Family": [FAMILY_TITLES[flip.family] for flip in ordered],
            "What changes": [flip.line for flip in ordered],
            "Smallest that flips": ["none" if flip.condition is None else flip.condition.title for flip in ordered],
            "In words": [flip.words for flip in ordered],
        }
    )
    st.dataframe(
        frame,
        hide_index=True,
        key="stress-flips",
        height="content",
        column_config={"What changes": st.column_config.TextColumn(pinned=True)},
        alt="For each kind of change, the smallest one that changes the verdict",
    )


def _show_sounds(card: SurvivalCard, sha256: str, excerpt: Excerpt) -> None:
    st.header("Hear it", anchor=False)
    rows = {row.condition.name: row for row in card.rows}
    flipped = [name for name, row in rows.items() if not row.survives]
    name = st.selectbox(
        "Condition",
        list(rows),
        list(rows).index(flipped[0]) if flipped else 0,
        format_func=lambda name: rows[name].condition.title + ("" if rows[name].survives else " (flips)"),
        key=f"stress-heard-{sha256[:16]}-{card.detector_hash[:8]}",
    )
    before, after = st.columns(2, gap="medium")
    with before:
        st.markdown("**As it is**")
        st.audio(wav_bytes(excerpt.samples), format="audio/wav", alt="The recording as it is")
        st.caption(f"{card.score:+.2f}: {card.verdict}")
    with after, telling_failures():
        row = rows[name]
        st.markdown(f"**{escaped(row.condition.title)}**", help=row.condition.summary)
        samples = resources.stressed_samples(sha256, name, card.seed, _excerpt=excerpt)
        st.audio(wav_bytes(samples), format="audio/wav", alt=f"The recording: {row.condition.title}")
        st.caption(f"refused: {escaped(row.reason)}" if row.score is None else f"{row.score:+.2f}: {row.verdict}")
