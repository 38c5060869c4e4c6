"""Publishing a run as a detector: which run, under what name, how far it is, how it ended."""

from __future__ import annotations

import time

import streamlit as st

from core.runs.folders import Run, RunStatus
from core.runs.publishing import Publication, PublishStatus, detectors_folder, last_publication, start_publishing
from pages.components.frame import escaped, plain, telling_failures
from pages.components.sign_in import allows

REFRESH_S = 1.0


def show_publish(runs: tuple[Run, ...]) -> None:
    """The form for runs with weights, and the last attempt of the chosen one."""
    if not allows("install"):
        return
    ready = [run for run in runs if run.has_weights]
    if not ready:
        st.info("No run has weights yet: they are written after the first epoch. A run with weights can be published here.")
        return
    names = [run.name for run in ready]
    run = ready[names.index(st.selectbox("Run to publish", names, format_func=plain, key="publish-run"))]
    st.caption(
        "Calibrates the weights with the lowest EER on dev, chooses thresholds, measures dev and test, and writes a detector "
        f"with its card into {escaped(str(detectors_folder()))}. It takes minutes and goes on when this tab is closed."
    )
    if run.status is not RunStatus.FINISHED:
        st.caption(f":material/info: This run is {run.status}, after {run.epoch} of {run.num_epochs} epochs.")
    suggestion = run.name.replace("/", "-").replace("_", "-")
    name = st.text_input("Name of the detector", suggestion, key=f"publish-name-{run.name}", max_chars=64).strip()
    last = last_publication(run)
    is_running = last is not None and last.status is PublishStatus.RUNNING
    if st.button("Publish", type="primary", icon=":material/publish:", disabled=is_running or not name, key="publish"):
        with telling_failures():
            start_publishing(run, name)
            st.rerun()
    if last is not None:
        _show_last(run)


def _show_last(run: Run) -> None:
    before = last_publication(run)
    was_running = before is not None and before.status is PublishStatus.RUNNING

    @st.fragment(run_every=REFRESH_S if was_running else None)
    def outcome() -> None:
        publication = last_publication(run)
        if publication is None:
            return
        status = publication.status
        if was_running and status is not PublishStatus.RUNNING:
            st.rerun()
        _show_outcome(publication, status)

    outcome()


def _show_outcome(publication: Publication, status: PublishStatus) -> None:
    name = escaped(publication.name)
    if status is PublishStatus.RUNNING:
        seconds = time.time() - publication.job.started_at
        st.info(f"Publishing **{name}**: calibrating and measuring, {seconds:.0f} s so far.", icon=":material/hourglass_top:")
        if words := publication.job.last_words():
            st.text(plain(words))
    elif status is PublishStatus.DONE:
        st.success(
            f"**{name}** is installed in {escaped(publication.job.out)}. Audits can use it; its card says how well it does.",
            icon=":material/check_circle:",
        )
    else:
        words = publication.job.last_words() or "The process ended without a word."
        st.error(f"**{name}** could not be published. {escaped(words.removeprefix('error: '))}", icon=":material/error:")
        with st.expander("What it said"):
            st.code(publication.job.last_words(40) or "nothing", language=None)
