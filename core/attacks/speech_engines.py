"""Text-to-speech by installed engines: espeak-ng, flite, festival. Speaks a text; matches nothing to a recording."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from core.attacks.kinds import PROGRAMS
from core.errors import CoreError

MAX_TEXT = 2_000
"""Characters; about two minutes of speech."""
_TIMEOUT_S = 60
_ESPEAK_WORDS_PER_MINUTE = 175
"""Its default."""
_CHARACTERS_PER_S = 15.0
"""Of the engines at their own speed, with spaces."""

_WHO = "the driver|a neighbour|my colleague|the manager|her sister|the teacher|a customer|the doctor|our guide|the new clerk".split(
    "|"
)
_DID = "opened|forgot|carried|described|sold|painted|repaired|followed|measured|returned".split("|")
_WHAT = "the old bridge|a blue suitcase|his second letter|the garden gate|two heavy boxes|an early train|the yellow map".split("|")
_WHEN = (
    "before breakfast|on a rainy Thursday|without saying why|for the third time|in the small village|after the long winter".split(
        "|"
    )
)


@dataclass(frozen=True, slots=True)
class Side:
    """One synthetic speaker saying one sentence."""

    engine: str
    """A key of `PROGRAMS`."""
    voice: str
    """The engine's own name for the voice."""
    text: str


def speak(side: Side, *, speed: float = 1.0) -> tuple[np.ndarray, int]:
    """What the engine says, `[time]` float32 at the voice's own rate, and that rate.

    Args:
        side: who says what.
        speed: over the engine's own.

    Raises:
        CoreError: the engine or the voice is not installed, or it makes no speech of the text.
    """
    text = _checked_text(side.text)
    if side.engine == "flite" and shutil.which(PROGRAMS["flite"]):
        check_flite_voices([side.voice])
    with tempfile.TemporaryDirectory() as scratch:
        path, out = Path(scratch, "text.txt"), Path(scratch, "speech.wav")
        path.write_text(text, encoding="utf-8")
        command = [PROGRAMS[side.engine], *_options(side, speed, path, out)]
        try:
            run = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
        except FileNotFoundError:
            raise CoreError(f"{side.engine} is not installed (no program {PROGRAMS[side.engine]}); install it first.") from None
        except subprocess.TimeoutExpired:
            raise CoreError(f"{side.engine} did not finish within {_TIMEOUT_S} s; try a shorter text.") from None
        if run.returncode != 0 or not out.is_file() or soundfile.info(out).frames == 0:
            detail = run.stderr.strip() or f"exit status {run.returncode}"
            raise CoreError(f"{side.engine} made no speech with its voice {side.voice}: {detail}")
        samples, rate_hz = soundfile.read(out, dtype="float32")
    return samples, rate_hz


def check_flite_voices(voices: Iterable[str]) -> None:
    """Refuses a flite built without a voice that is needed: it would silently speak with another.

    Raises:
        CoreError: a voice is missing.
    """
    listed = subprocess.run(["flite", "-lv"], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False).stdout.split()
    if absent := sorted(set(voices).difference(listed)):
        raise CoreError(f"The installed flite lacks the voices {', '.join(absent)}; Debian's package has them.")


def random_sentence(rng: np.random.Generator) -> str:
    """Who did what when, of 4,200."""
    return " ".join(str(rng.choice(words)) for words in (_WHO, _DID, _WHAT, _WHEN)) + "."


def random_text(duration_s: float, rng: np.random.Generator) -> str:
    """Drawn sentences of about that duration; at the least a subject and a verb."""
    wanted = duration_s * _CHARACTERS_PER_S
    text = ""
    while len(text) < wanted:
        who, did, what, when = (str(rng.choice(words)) for words in (_WHO, _DID, _WHAT, _WHEN))
        sentences = (f"{who} {did}.", f"{who} {did} {what}.", f"{who} {did} {what} {when}.")
        # The form that comes nearest; none, where the text is nearer without another.
        longer = min((f"{text} {sentence}".strip() for sentence in sentences), key=lambda each: abs(len(each) - wanted))
        if text and abs(len(text) - wanted) <= abs(len(longer) - wanted):
            break
        text = longer
    return text


def _checked_text(text: str) -> str:
    if not any(character.isalnum() for character in text):
        raise CoreError("The text to speak holds no word; write what is to be said.")
    if len(text) > MAX_TEXT:
        raise CoreError(f"The text to speak has {len(text):,} characters; at most {MAX_TEXT:,} are spoken at once.")
    return text


def _options(side: Side, speed: float, text: Path, out: Path) -> list[str]:
    """The engine's arguments; none for its own speed."""
    if side.engine == "espeak-ng":
        pace = [] if speed == 1.0 else ["-s", str(round(_ESPEAK_WORDS_PER_MINUTE * speed))]
        return ["-v", side.voice, *pace, "-w", str(out), "-f", str(text)]
    if side.engine == "flite":
        pace = [] if speed == 1.0 else ["--setf", f"duration_stretch={1 / speed:.4f}"]
        return ["-voice", side.voice, *pace, "-f", str(text), "-o", str(out)]
    pace = [] if speed == 1.0 else ["-eval", f"(Parameter.set 'Duration_Stretch {1 / speed:.4f})"]
    return ["-eval", f"(voice_{side.voice})", *pace, "-o", str(out), str(text)]
