"""Which attacks the Attack lab makes, how strongly, of what text; which cannot run here and why. `?attack=NAME` links."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from core.attacks.kinds import ATTACK_KINDS, AttackKind, Parameter
from pages.components.frame import escaped

_FIRST = ("griffin_lim", "lpc_copy", "world_conversion")
"""Chosen when the address names none."""
_WRITTEN = "attack-kinds-written"
_MAX_TEXT = 500
_FAMILY_TITLES = {
    "copy synthesis": "Copy synthesis: same words, same voice",
    "neural vocoder": "Neural vocoder",
    "conversion": "Conversion: another voice",
    "concatenation": "Concatenation",
    "text-to-speech": "Text-to-speech: another voice and other words",
    "replay": "Replay: played into a room and recorded again",
    "partial": "Partial: only some words are spoofed",
}


@dataclass(frozen=True, slots=True)
class ChosenAttack:
    """A kind and the parameters that are fixed; the others are drawn by the seed or have their usual values."""

    kind: AttackKind
    parameters: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class AttackChoices:
    """What is to be made of every recording."""

    attacks: tuple[ChosenAttack, ...]
    text: str | None
    seed: int


def choose_attacks() -> AttackChoices:
    """Widgets for all of it; no attacks where none is chosen."""
    families = list(dict.fromkeys(kind.family for kind in ATTACK_KINDS.values()))
    _seed_choice(families)
    names = []
    for column, part in zip(st.columns(2, gap="medium"), (families[::2], families[1::2]), strict=True):
        with column:
            for family in part:
                names += _choose_of_family(family)
    kinds = [kind for kind in ATTACK_KINDS.values() if kind.name in names]
    _show_unavailable()
    st.session_state[_WRITTEN] = tuple(kind.name for kind in kinds)
    st.query_params["attack"] = [kind.name for kind in kinds]
    row = st.container(horizontal=True, vertical_alignment="bottom")
    with row:
        text = None
        if any(kind.needs_text for kind in kinds):
            text = st.text_input(
                "Text to be spoken",
                key="attack-words",
                max_chars=_MAX_TEXT,
                placeholder="sentences drawn by the seed, about as long as the recording",
                width=560,
            )
        seed = st.number_input(
            "Seed", 0, 2**31 - 1, 0, key="attack-seed", width=160, help="Decides everything random: the same seed, the same spoofs."
        )
    attacks = _choose_parameters(kinds)
    return AttackChoices(attacks, (text or "").strip() or None, int(seed))


def _seed_choice(families: list[str]) -> None:
    """Takes what the address names, unless this page wrote it there; without a word in it, what was chosen last."""
    linked, written = tuple(st.query_params.get_all("attack")), st.session_state.get(_WRITTEN)
    if written == linked:
        return
    if unknown := [name for name in linked if name not in ATTACK_KINDS]:
        st.warning(f"The address names an attack that there is not: {escaped(', '.join(unknown))}.", icon=":material/link_off:")
    wanted = [name for name in linked if name in ATTACK_KINDS] or written or _FIRST
    for family in families:
        st.session_state[f"attack-kinds-{family}"] = [
            name for name in wanted if ATTACK_KINDS[name].family == family and ATTACK_KINDS[name].unavailable is None
        ]


def _choose_of_family(family: str) -> list[str]:
    kinds = [kind for kind in ATTACK_KINDS.values() if kind.family == family]
    ready = [kind.name for kind in kinds if kind.unavailable is None]
    if not ready:
        return []
    help_lines = [f"**{kind.title}**: {kind.summary}" for kind in kinds]
    return st.pills(
        _FAMILY_TITLES.get(family, family.capitalize()),
        ready,
        selection_mode="multi",
        format_func=lambda name: ATTACK_KINDS[name].title,
        key=f"attack-kinds-{family}",
        wrap=True,
        help="  \n".join(help_lines),
    )


def _show_unavailable() -> None:
    missing = [kind for kind in ATTACK_KINDS.values() if kind.unavailable is not None]
    if missing:
        with st.expander(f"Not on this machine: {', '.join(kind.title for kind in missing)}", icon=":material/block:"):
            for kind in missing:
                st.markdown(f"- {kind.unavailable}")


def _choose_parameters(kinds: list[AttackKind]) -> tuple[ChosenAttack, ...]:
    """Sliders of the chosen kinds, in an expander; what is drawn by the seed stays so until it is fixed."""
    fixed: dict[str, tuple[tuple[str, float], ...]] = {}
    adjustable = [kind for kind in kinds if kind.parameters]
    if adjustable:
        with st.expander("How strongly: parameters of the chosen attacks", icon=":material/tune:"):
            for kind in adjustable:
                st.markdown(f"**{kind.title}**", help=kind.summary)
                fixed[kind.name] = _choose_of_kind(kind)
    return tuple(ChosenAttack(kind, fixed.get(kind.name, ())) for kind in kinds)


def _choose_of_kind(kind: AttackKind) -> tuple[tuple[str, float], ...]:
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    with row:
        is_drawn = any(parameter.drawn for parameter in kind.parameters) and st.toggle(
            "drawn anew for each recording", value=True, key=f"attack-drawn-{kind.name}", width=270
        )
        shown = [parameter for parameter in kind.parameters if not (is_drawn and parameter.drawn)]
        return tuple((parameter.name, _slider(kind, parameter)) for parameter in shown)


def _slider(kind: AttackKind, parameter: Parameter) -> float:
    key = f"attack-{kind.name}-{parameter.name}"
    if parameter.choices:
        return float(
            st.selectbox(
                parameter.title,
                range(len(parameter.choices)),
                int(parameter.default),
                format_func=lambda i: ATTACK_KINDS[name].title if (name := parameter.choices[i]) in ATTACK_KINDS else name,
                key=key,
                width=200,
            )
        )
    title = f"{parameter.title} ({parameter.unit})" if parameter.unit else parameter.title
    is_whole = parameter.step == int(parameter.step)
    to = int if is_whole else float
    bounds = (to(parameter.low), to(parameter.high), to(parameter.default), to(parameter.step))
    return float(st.slider(title, *bounds, key=key, width=260))
