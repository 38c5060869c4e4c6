"""Says where a folder or a recording comes from telephone lines and another detector keeps its verdicts there."""

from __future__ import annotations

from collections.abc import Collection

import streamlit as st

from core.checkpoints import Detector
from core.records import Audit
from core.scanning.plan import ScanPlan
from core.store.store import Store
from core.stress.telephone import WARNINGS_OF_LINES, bandwidth_words, telephone_advice
from pages.components import resources
from pages.components.frame import escaped


def advise_on_recording(warnings: Collection[str], detector: Detector) -> None:
    """Under a recording's own warnings."""
    if WARNINGS_OF_LINES & set(warnings):
        _advise("", detector)


def advise_on_plan(plan: ScanPlan, detector: Detector) -> None:
    """Before an audit starts."""
    if plan.num_narrowband:
        _advise(f"Sampled at 8 kHz or less: about {plan.num_narrowband:,} of {plan.num_files:,}. ", detector)


def advise_on_audit(store: Store, audit: Audit, detector: Detector) -> None:
    """Over an audit's results."""
    if num := resources.num_narrowband(store, audit):
        _advise(bandwidth_words(num, audit.num_done) + " ", detector)


def _advise(beginning: str, detector: Detector) -> None:
    tables = (table for _, table in resources.stress_tables().found)
    installed = {found.hash for found in resources.detectors()}
    if words := telephone_advice(tables, detector.hash, installed):
        st.warning(escaped(beginning + words), icon=":material/phone_in_talk:")
