"""What became of a process that the dashboard started: its last words while it runs, its result, or why there is none."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from core.jobs import Job
from pages.components.frame import escaped, plain

REFRESH_S = 1.0


def show_outcome(
    find: Callable[[], Job | None], *, running: str, is_done: Callable[[Job], bool], show_result: Callable[[Job], None], failed: str
) -> None:
    """Nothing when there was no job; follows one that runs, and reruns the page when it ends.

    Args:
        find: the job as it is now.
        running: a sentence for the time until it ends.
        is_done: whether it came to its end.
        show_result: draws what it made.
        failed: a sentence that its last words follow.
    """
    last = find()
    if last is None:
        return
    was_running = last.is_running

    @st.fragment(run_every=REFRESH_S if was_running else None)
    def outcome() -> None:
        job = find()
        if was_running and not job.is_running:
            st.rerun()
        if job.is_running:
            st.info(running, icon=":material/hourglass_top:")
            st.text(plain(job.last_words()))
        elif is_done(job):
            show_result(job)
        else:
            words = job.last_words() or "The process ended without a word."
            st.error(f"{failed} {escaped(words.removeprefix('error: '))}", icon=":material/error:")

    outcome()
