"""The records of kinds of attack: a parameter, a kind, and whether it can run on this machine. Names no kind."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from core.errors import CoreError

Family = Literal["copy synthesis", "conversion", "text-to-speech", "concatenation", "neural vocoder", "replay", "partial"]

PROGRAMS = {"espeak-ng": "espeak-ng", "flite": "flite", "festival": "text2wave"}
"""Speech engine -> the program that it is called by."""
SHIPPED_VOCODER = Path(__file__).parents[2] / "data" / "vocoder"
VOCODER_FILES = ("weights.safetensors", "vocoder.json")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One number that a maker takes, or a choice by its index."""

    name: str
    title: str
    unit: str
    """Empty for a plain number."""
    low: float
    high: float
    default: float
    drawn: tuple[tuple[float, float], ...] = ()
    """Stretches from which it is drawn when it is not given; without any, the default is taken. Stretches of one number in
    several parameters of a kind belong together: the same one is drawn in each (a higher voice has a smaller throat)."""
    step: float = 0.01
    """What a slider moves by; 1 for whole numbers."""
    choices: tuple[str, ...] = ()
    """Names of the values 0, 1, 2 ...; empty where the value is a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackKind:
    """One way to make a spoof."""

    name: str
    """Also the attack code in protocols, but for replay, whose code is the one of ASVspoof 2019."""
    title: str
    family: Family
    summary: str
    """How it is made, and whose method it is."""
    parameters: tuple[Parameter, ...] = ()
    needs_text: bool = False
    """Speaks a text; without one, drawn sentences of about the source's duration."""
    takes_other: bool = False
    """Is steered by another speaker's recording where one is given."""
    package: str | None = None
    """Python package that the maker imports beside PyTorch."""

    @property
    def unavailable(self) -> str | None:
        """None where it can run on this machine; otherwise what is missing and how to install it."""
        if self.name in PROGRAMS and shutil.which(PROGRAMS[self.name]) is None:
            return (
                f"{self.title} is not installed (no program {PROGRAMS[self.name]}); install it with `apt-get install {self.name}`."
            )
        if self.package and importlib.util.find_spec(self.package) is None:
            return f"{self.title} needs the Python package {self.package}; install it with `pip install -r requirements.txt`."
        if self.name == "neural_vocoder":
            return missing_vocoder(SHIPPED_VOCODER)
        return None

    def parameter(self, name: str) -> Parameter:
        """The parameter of that name.

        Raises:
            CoreError: there is none.
        """
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        there = ", ".join(parameter.name for parameter in self.parameters) or "none"
        raise CoreError(f"{self.title} has no parameter {name!r}; it has: {there}.")

    def settled(self, given: Mapping[str, float | str] | None, *, seed: int) -> dict[str, float]:
        """A value for every parameter: the given one, else drawn by the seed or the default.

        Args:
            given: numbers, or the name of a choice.
            seed: decides the draws; a given value changes no other's draw.

        Raises:
            CoreError: an unknown parameter, or a value outside its range.
        """
        rng = np.random.default_rng([seed, 7])
        which = float(rng.uniform())
        values = {parameter.name: _drawn(parameter, which, float(rng.uniform())) for parameter in self.parameters}
        for name, value in (given or {}).items():
            values[name] = _checked(self.parameter(name), value)
        return values

    def in_words(self, values: Mapping[str, float]) -> str:
        """`Pitch 4 semitones, Formants 1.12`: the values with title and unit."""
        return ", ".join(f"{parameter.title} {value_words(parameter, values[parameter.name])}" for parameter in self.parameters)


def value_words(parameter: Parameter, value: float) -> str:
    """A value as people read it: the choice's name, or the number with its unit."""
    if parameter.choices:
        return parameter.choices[int(value)]
    return f"{value:,.4g} {parameter.unit}".rstrip()


def missing_vocoder(folder: Path = SHIPPED_VOCODER) -> str | None:
    """Why there is no neural vocoder to use, and how to get one; None when there is."""
    missing = [name for name in VOCODER_FILES if not (folder / name).is_file()]
    if not missing:
        return None
    return (
        f"The neural vocoder is not here ({' and '.join(missing)} missing in {folder}). Train it on bona fide speech: "
        "`python -m training vocoder train --data PREPARED --run RUN`, then `python -m training vocoder publish --run RUN`."
    )


def _drawn(parameter: Parameter, which: float, share: float) -> float:
    if not parameter.drawn:
        return parameter.default
    low, high = parameter.drawn[int(which * len(parameter.drawn))]
    if parameter.choices:
        return float(int(low + share * (high - low + 1)))
    return round(round((low + share * (high - low)) / parameter.step) * parameter.step, 6)


def _checked(parameter: Parameter, value: float | str) -> float:
    if parameter.choices and value in parameter.choices:
        return float(parameter.choices.index(value))
    if parameter.choices and isinstance(value, str):
        raise CoreError(f"{parameter.title} ({parameter.name}) is {value!r}; expected one of {', '.join(parameter.choices)}.")
    try:
        number = float(value)
    except ValueError:
        raise CoreError(f"{parameter.title} ({parameter.name}) is {value!r}; expected a number.") from None
    if not parameter.low <= number <= parameter.high:
        unit = f" {parameter.unit}" if parameter.unit else ""
        raise CoreError(
            f"{parameter.title} ({parameter.name}) is {number:g}; expected {parameter.low:g} to {parameter.high:g}{unit}."
        )
    if parameter.step in (1, 2):  # counts: every one, or only odd ones
        number = parameter.low + round((number - parameter.low) / parameter.step) * parameter.step
    return number
