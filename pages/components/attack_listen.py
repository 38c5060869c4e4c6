"""Made spoofs beside their source: players, what every detector says of each, and two spectrograms on one time axis."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.attacks.figures import pair_figure
from core.attacks.kinds import ATTACK_KINDS
from core.attacks.lab import ROOM, SOURCE, LabVerdict
from core.preview import wav_bytes
from core.records import Verdict
from pages.components.attack_results import LabResults, LabSpoof
from pages.components.attack_sources import LabSource
from pages.components.frame import escaped, plain

_COLOURS = {Verdict.SPOOF: "orange", Verdict.BONA_FIDE: "blue", Verdict.INCONCLUSIVE: "gray", Verdict.REFUSED: "gray"}
"""Of badges, as near to the figures' as Streamlit has them; the words say it too."""
_CARD_PX = 305


def show_sounds(results: LabResults) -> None:
    """One recording at a time: the source, then every spoof made of it."""
    st.header("Hear them", anchor=False)
    sources = results.sources
    chosen = 0
    if len(sources) > 1:
        chosen = st.selectbox(
            "Recording", range(len(sources)), format_func=lambda i: plain(sources[i].name), key=f"attack-heard-{len(sources)}"
        )
    source = sources[chosen]
    spoofs = [spoof for spoof in results.spoofs if spoof.source is source]
    row = st.container(horizontal=True, gap="small")
    with row.container(width=_CARD_PX, border=True):
        st.markdown("**As it is**")
        st.audio(wav_bytes(source.excerpt.samples), format="audio/wav", alt="The recording as it is")
        _show_verdicts(_of(results.verdicts, source, SOURCE))
        st.caption(escaped(source.name))
    for spoof in spoofs:
        with row.container(width=_CARD_PX, border=True):
            of_spoof = _of(results.verdicts, source, spoof.attack.kind.name)
            _show_card(spoof, of_spoof, _of(results.verdicts, source, ROOM))
    if spoofs:
        _show_pair(source, spoofs)


def _show_card(spoof: LabSpoof, verdicts: Sequence[LabVerdict], in_room: Sequence[LabVerdict]) -> None:
    kind, made = spoof.attack.kind, spoof.made
    st.markdown(f"**{kind.title}**", help=kind.summary)
    st.audio(wav_bytes(made.samples), format="audio/wav", alt=f"{kind.title} of the recording")
    _show_verdicts(verdicts)
    words = [kind.in_words(made.parameters)] if made.parameters else []
    if made.made_by:
        words = [words[0].replace(made.made_by, ATTACK_KINDS[made.made_by].title)]
    if kind.family == "partial":
        words += ["spoofed from " + ", ".join(f"{start:.2f} to {end:.2f} s" for start, end in made.spans)]
    if made.text:
        words += [f"\u201c{made.text}\u201d"]
    st.caption(escaped("; ".join(words)) or escaped(kind.family))
    if made.counterpart is not None:
        st.caption("Real speech in the same room, by the same microphone:")
        st.audio(wav_bytes(made.counterpart), format="audio/wav", alt="Bona fide speech in the same room")
        _show_verdicts(in_room)


def _show_verdicts(verdicts: Sequence[LabVerdict]) -> None:
    with st.container(horizontal=True, gap="small"):
        for verdict in verdicts:
            words = str(verdict.verdict) if verdict.score is None else f"{verdict.verdict} {verdict.score:+.2f}"
            named = f"{plain(verdict.detector)}: {words}" if len(verdicts) > 1 else words
            st.badge(escaped(named), color=_COLOURS[verdict.verdict], help=escaped(verdict.reason) or escaped(verdict.detector))


def _show_pair(source: LabSource, spoofs: Sequence[LabSpoof]) -> None:
    with st.expander("See one beside its source", icon=":material/graphic_eq:"):
        number = st.selectbox(
            "Attack", range(len(spoofs)), format_func=lambda i: spoofs[i].attack.kind.title, key=f"attack-seen-{len(spoofs)}"
        )
        spoof = spoofs[number]
        figure = pair_figure(
            source.excerpt.samples,
            spoof.made.samples,
            spoof_title=spoof.attack.kind.title,
            spans=spoof.made.spans,
            is_partial=spoof.attack.kind.family == "partial",
        )
        st.plotly_chart(figure, key="attack-pair", alt="Spectrograms of the recording and of the spoof made of it")


def _of(verdicts: Sequence[LabVerdict], source: LabSource, attack: str) -> list[LabVerdict]:
    return [verdict for verdict in verdicts if verdict.source == source.name and verdict.attack == attack]
