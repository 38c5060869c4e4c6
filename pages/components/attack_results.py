"""What was made in the Attack lab: made with a bar that moves, kept for the session, shown as table and figure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from core.attacks.data_set import other_recordings
from core.attacks.figures import lab_colours, lab_score_figure, lab_words
from core.attacks.lab import ROOM, SOURCE, LabRow, LabVerdict, lab_frame, lab_rows, scale_of
from core.attacks.make import MadeSpoof, spoof_seed
from core.checkpoints import Detector
from core.errors import CoreError
from pages.components import resources
from pages.components.attack_choices import AttackChoices, ChosenAttack
from pages.components.attack_sources import LabSource
from pages.components.figure_view import show_figure
from pages.components.frame import escaped, plain
from pages.components.sign_in import allows

_HELD = "attack-results"


@dataclass(frozen=True, slots=True)
class LabSpoof:
    """One spoof with what it was made of."""

    source: LabSource
    attack: ChosenAttack
    made: MadeSpoof


@dataclass(frozen=True, slots=True)
class LabResults:
    """Everything that was made at one press of the button."""

    sources: tuple[LabSource, ...]
    choices: AttackChoices
    spoofs: tuple[LabSpoof, ...]
    verdicts: tuple[LabVerdict, ...]
    failures: tuple[str, ...]
    """A sentence for each spoof that could not be made."""

    @property
    def titles(self) -> dict[str, str]:
        """Attack -> what people call it."""
        return {attack.kind.name: attack.kind.title for attack in self.choices.attacks}

    @property
    def is_of(self) -> tuple:
        """Says what was asked for."""
        return identity(self.sources, self.choices)


def make_results(sources: Sequence[LabSource], choices: AttackChoices) -> LabResults | None:
    """The button, and what was made when it was last pressed; None before."""
    ready = bool(sources) and bool(choices.attacks)
    num = len(sources) * len(choices.attacks)
    label = f"Make {num} spoof{'s' if num != 1 else ''}" if ready else "Make spoofs"
    if allows("make") and st.button(label, type="primary", icon=":material/science:", disabled=not ready, key="attack-make"):
        st.session_state[_HELD] = _made(tuple(sources), choices)
    held: LabResults | None = st.session_state.get(_HELD)
    if held is not None and held.is_of != identity(sources, choices):
        st.caption(
            ":material/history: What is below was made with other choices than those above. Press the button to make it anew."
        )
    return held


def show_scores(results: LabResults) -> None:
    """Every detector on every attack: failures, table, figure."""
    if results.failures:
        with st.expander(f"{len(results.failures)} could not be made", icon=":material/warning:", expanded=not results.spoofs):
            for words in results.failures:
                st.markdown(f"- {escaped(words)}")
    detectors = resources.detectors()
    scales = [scale_of(detector) for detector in detectors if any(v.detector == detector.name for v in results.verdicts)]
    rows = lab_rows(results.verdicts, results.titles, [scale.detector for scale in scales])
    st.header("What detectors say", anchor=False)
    _show_table(rows, [scale.detector for scale in scales])
    st.caption(
        "Blue: all called right, orange: none. The recordings as they are should be called bona fide, everything below them spoof."
    )
    for words in dict.fromkeys(scale.score_words for scale in scales):
        of_kind = [scale for scale in scales if scale.score_words == words]
        names = {scale.detector for scale in of_kind}
        verdicts = [verdict for verdict in results.verdicts if verdict.detector in names]
        show_figure(
            lab_score_figure(verdicts, rows, of_kind),
            key=f"attack-scores-{'calibrated' if 'nats' in words else 'raw'}",
            words=lab_words(verdicts),
            numbers=lab_frame(verdicts, results.titles),
        )
    st.caption("A point per recording: full where the detector says spoof, empty where bona fide, dotted where inconclusive.")


def _show_table(rows: Sequence[LabRow], detectors: Sequence[str]) -> None:
    columns = {"Attack": [row.title for row in rows]}
    columns |= {plain(name): [row.cells[j].words for row in rows] for j, name in enumerate(detectors)}
    frame = pd.DataFrame(columns)
    colours = pd.DataFrame("", index=frame.index, columns=frame.columns)
    for i, row in enumerate(rows):
        for name, cell in zip(frame.columns[1:], row.cells, strict=True):
            if pair := lab_colours(cell.share_right):
                colours.loc[i, name] = f"background-color: {pair[0]}; color: {pair[1]}"
    st.dataframe(
        frame.style.apply(lambda _: colours, axis=None),
        hide_index=True,
        key="attack-table",
        height="content",
        column_config={"Attack": st.column_config.TextColumn(pinned=True, width=230)},
        alt="Verdicts and median score of each detector on each attack",
    )


def _made(sources: tuple[LabSource, ...], choices: AttackChoices) -> LabResults:
    """Makes and judges all of it, one by one; what cannot be made is told of, and the others stand."""
    detectors = resources.detectors()
    total, done = len(sources) * (1 + len(choices.attacks)), 0
    bar = st.progress(0.0, text="Making spoofs ...")
    spoofs, verdicts, failures = [], [], []
    others = other_recordings([source.path for source in sources], seed=choices.seed)  # as a saved data set has them
    by_path = {source.path: source for source in sources}
    for source in sources:
        bar.progress(done / total, text=f"{plain(source.name)}: as it is")
        verdicts += _judged(detectors, source, SOURCE, source.excerpt.samples)
        done += 1
        for attack in choices.attacks:
            bar.progress(done / total, text=f"{plain(source.name)}: {attack.kind.title}")
            try:
                spoof = LabSpoof(source, attack, _spoof(source, attack, choices, by_path.get(others[source.path])))
                spoofs.append(spoof)
                verdicts += _judged(detectors, source, attack.kind.name, spoof.made.samples)
                if spoof.made.counterpart is not None:
                    verdicts += _judged(detectors, source, ROOM, spoof.made.counterpart)
            except CoreError as error:
                failures.append(f"{attack.kind.title} of {source.name}: {error}")
            done += 1
    bar.empty()
    return LabResults(sources, choices, tuple(spoofs), tuple(verdicts), tuple(failures))


def _spoof(source: LabSource, attack: ChosenAttack, choices: AttackChoices, other: LabSource | None) -> MadeSpoof:
    other = other if attack.kind.takes_other or attack.kind.family == "partial" else None
    return resources.made_spoof(
        source.sha256,
        attack.kind.name,
        attack.parameters,
        choices.text if attack.kind.needs_text else None,
        spoof_seed(choices.seed, source.sha256, attack.kind.name),
        None if other is None else other.sha256,
        _samples=source.excerpt.samples,
        _source=source.name,
        _other=None if other is None else other.excerpt.samples,
    )


def _judged(detectors: Sequence[Detector], source: LabSource, attack: str, samples: np.ndarray) -> list[LabVerdict]:
    digest = hashlib.sha256(samples.tobytes()).hexdigest()
    return [
        resources.lab_verdict(detector.hash, digest, source.name, attack, _samples=samples, _detector=detector)
        for detector in detectors
    ]


def identity(sources: Sequence[LabSource], choices: AttackChoices) -> tuple:
    """Says what is asked for."""
    attacks = tuple((attack.kind.name, attack.parameters) for attack in choices.attacks)
    text = choices.text if any(attack.kind.needs_text for attack in choices.attacks) else None
    return tuple(source.sha256 for source in sources), attacks, text, choices.seed
