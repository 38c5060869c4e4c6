"""Made spoofs as a labelled data set: a ZIP to download, a folder on the server, or the command for whole folders."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from core.attacks.data_set import DataSetReport, make_data_set
from core.attacks.kinds import ATTACK_KINDS, Parameter
from core.attacks.lab import new_folder
from core.explanation.excerpts import MAX_EXCERPT_S
from core.scanning.browse import allowed_roots
from core.whole_files import zip_of
from pages.components.attack_choices import AttackChoices
from pages.components.attack_results import identity
from pages.components.attack_sources import LabSource
from pages.components.frame import escaped, telling_failures
from pages.components.sign_in import allows

_ZIP = "attack-zip"
_SAVED = "attack-saved"


def show_saving(sources: Sequence[LabSource], choices: AttackChoices) -> None:
    """What is chosen, as files with an ASVspoof protocol."""
    st.header("Save as a data set", anchor=False)
    if not allows("make"):
        return
    st.caption(
        "The recordings and the spoofs as FLAC, `protocol.txt` in ASVspoof's form, where partial spoofs are spoofed, and how all "
        "of it was made. A **Batch audit** of it with the protocol, or `python -m training prepare`, takes it from there."
    )
    left, right = st.columns(2, gap="medium")
    with left, telling_failures():
        _show_zip(sources, choices)
    with right, telling_failures():
        _show_folder(sources, choices)
    with st.expander("A whole folder at once", icon=":material/terminal:"):
        st.caption("The command goes on when this tab is closed, takes up where it was stopped, and uses all cores.")
        st.code(_command(choices), language="bash")


def _show_zip(sources: Sequence[LabSource], choices: AttackChoices) -> None:
    held = st.session_state.get(_ZIP)
    if st.button("Pack a ZIP", icon=":material/folder_zip:", key="attack-pack"):
        with tempfile.TemporaryDirectory(prefix="earwitness-") as scratch:
            report = _saved(sources, choices, Path(scratch, "spoofs"))
            zip_of(report.out, Path(scratch, "spoofs.zip"))
            held = st.session_state[_ZIP] = (identity(sources, choices), Path(scratch, "spoofs.zip").read_bytes(), report)
    if held and held[0] == identity(sources, choices):
        st.download_button(
            f"Download ({len(held[1]) / 1e6:.1f} MB)",
            held[1],
            file_name="earwitness-spoofs.zip",
            mime="application/zip",
            key="attack-download",
            icon=":material/download:",
            on_click="ignore",
            type="primary",
        )
        _show_report(held[2], None)


def _show_folder(sources: Sequence[LabSource], choices: AttackChoices) -> None:
    root = next(iter(allowed_roots()), Path.home())
    row = st.container(horizontal=True, vertical_alignment="bottom")
    typed = row.text_input("New folder, on the machine that runs Earwitness", str(root / "earwitness-spoofs"), key="attack-folder")
    if row.button("Write it", icon=":material/save:", key="attack-write"):
        st.session_state[_SAVED] = None
        out = new_folder(typed)
        st.session_state[_SAVED] = (identity(sources, choices), _saved(sources, choices, out), out)
    held = st.session_state.get(_SAVED)
    if held and held[0] == identity(sources, choices):
        _show_report(held[1], held[2])


def _show_report(report: DataSetReport, out: Path | None) -> None:
    place = "" if out is None else f" They are in {escaped(str(out))}."
    words = f"{report.num_bona_fide} bona fide recordings and {report.num_spoof} spoofs.{place}"
    (st.warning if report.failures else st.success)(words, icon=":material/check_circle:")
    for failure in report.failures:
        what = f"{ATTACK_KINDS[failure.kind].title} of " if failure.kind in ATTACK_KINDS else ""
        st.markdown(f"- {escaped(f'{what}{Path(failure.recording).name}: {failure.sentence}')}")


def _saved(sources: Sequence[LabSource], choices: AttackChoices, out: Path) -> DataSetReport:
    """Writes the data set with a bar that moves."""
    bar = st.progress(0.0, text="Writing the data set ...")

    def tell(done: int, total: int) -> None:
        bar.progress(done / max(1, total), text=f"{done} of {total} recordings")

    try:
        return make_data_set(
            [source.path for source in sources],
            out,
            [attack.kind.name for attack in choices.attacks],
            seed=choices.seed,
            text=choices.text,
            parameters={attack.kind.name: dict(attack.parameters) for attack in choices.attacks},
            max_duration_s=MAX_EXCERPT_S,
            on_progress=tell,
        )
    finally:
        bar.empty()


def _command(choices: AttackChoices) -> str:
    """What to type for a folder of bona fide recordings."""
    words = ["python", "-m", "core", "attack", "FOLDER", "OUT", "--kinds", *(attack.kind.name for attack in choices.attacks)]
    for attack in choices.attacks:
        for name, value in attack.parameters:
            words += ["--set", f"{attack.kind.name}.{name}={_typed(attack.kind.parameter(name), value)}"]
    return shlex.join([*words, "--seed", str(choices.seed)]) + (
        "  # --text FILE: what is said, a line each" if choices.text else ""
    )


def _typed(parameter: Parameter, value: float) -> str:
    return parameter.choices[int(value)] if parameter.choices else f"{value:g}"
