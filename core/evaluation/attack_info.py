"""The attacks of ASVspoof 2019 logical access, A01 to A19, and published figures of systems on them. Facts, no arithmetic.

Source of the table: Wang et al. (2020), "ASVspoof 2019: a large-scale public database of synthesized, converted and replayed
speech", Computer Speech & Language 64, doi:10.1016/j.csl.2020.101114, section 4 and its table of the LA spoofing systems.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.evaluation.records import Grouping, ReferenceColumn
from core.evaluation.trial_sets import TrialSet

TRAIN_PART, EVAL_PART = "A01-A06", "A07-A19"
"""The attacks of train and dev, and those of eval. Figures of one are never averaged with figures of the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackInfo:
    """How an attack's speech was made."""

    code: str
    family: str
    """`TTS` (from text), `VC` (from human speech) or `TTS-VC` (conversion of synthetic speech)."""
    conversion: str
    """The model that makes acoustic features."""
    generator: str
    """What makes the waveform of them."""
    generator_class: str
    """`neural`, `vocoder`, `Griffin-Lim`, `concatenation`, `spectral filtering` or `waveform filtering`."""
    is_known: bool
    """Whether the training part has the same algorithm (A16 is A04's, A19 is A06's)."""

    @property
    def part(self) -> str:
        """`A01-A06` or `A07-A19`."""
        return TRAIN_PART if self.code <= "A06" else EVAL_PART

    def group(self, grouping: Grouping) -> str | None:
        """The attack's group in one of the groupings that the table knows; None in any other."""
        known = "known" if self.is_known else "unknown"
        return {"family": self.family, "generator": self.generator_class, "known": known}.get(grouping)

    @property
    def description(self) -> str:
        """The row in words."""
        return f"{self.family}: {self.conversion}; waveform: {self.generator} ({self.generator_class})"


_ROWS = (
    ("A01", "TTS", "autoregressive RNN, VAE speaker codes", "WaveNet", "neural"),
    ("A02", "TTS", "autoregressive RNN, VAE speaker codes", "WORLD", "vocoder"),
    ("A03", "TTS", "feed-forward network", "WORLD", "vocoder"),
    ("A04", "TTS", "unit selection (MaryTTS)", "waveform concatenation", "concatenation"),
    ("A05", "VC", "VAE", "WORLD", "vocoder"),
    ("A06", "VC", "GMM-UBM transfer function", "spectral filtering and overlap-add", "spectral filtering"),
    ("A07", "TTS", "RNN, corrected by a GAN", "WORLD", "vocoder"),
    ("A08", "TTS", "autoregressive RNN", "neural source-filter", "neural"),
    ("A09", "TTS", "RNN", "Vocaine", "vocoder"),
    ("A10", "TTS", "Tacotron 2 with speaker embeddings", "WaveRNN", "neural"),
    ("A11", "TTS", "Tacotron 2 with speaker embeddings", "Griffin-Lim", "Griffin-Lim"),
    ("A12", "TTS", "RNN", "WaveNet", "neural"),
    ("A13", "TTS-VC", "moment matching network", "waveform filtering", "waveform filtering"),
    ("A14", "TTS-VC", "ASR features and RNN", "STRAIGHT", "vocoder"),
    ("A15", "TTS-VC", "ASR features and RNN", "WaveNet", "neural"),
    ("A16", "TTS", "unit selection (MaryTTS)", "waveform concatenation", "concatenation"),
    ("A17", "VC", "VAE", "waveform filtering", "waveform filtering"),
    ("A18", "VC", "i-vectors and PLDA, linear mapping", "MFCC vocoder", "vocoder"),
    ("A19", "VC", "GMM-UBM transfer function", "spectral filtering and overlap-add", "spectral filtering"),
)
ATTACKS: dict[str, AttackInfo] = {
    code: AttackInfo(
        code=code,
        family=family,
        conversion=conversion,
        generator=generator,
        generator_class=generator_class,
        is_known=code <= "A06" or code in ("A16", "A19"),
    )
    for code, family, conversion, generator, generator_class in _ROWS
}
"""Code -> what it is."""

_CNN_ROWS = ("human", "A07", "A09", "A10", "A11", "A12", "A13", "A14", "A15", "A16", "A17", "A18", "A19", "total")
_CNN_SOURCE = "accuracies of a CNN on spectrogram images, ASVspoof 2019 LA eval, as published; A08 was not reported"
_CNN_MULTIPLY = (0.9110, 0.9988, 0.9988, 0.8115, 0.9424, 0.7912, 0.7597, 0.9278, 0.9174, 0.9424, 0.9364, 0.5345, 0.9846, 0.90)
_CNN_3000 = (0.9547, 0.9833, 0.9996, 0.9580, 0.9656, 0.9762, 0.9909, 0.9996, 0.9657, 0.9656, 0.7322, 0.2441, 0.8459, 0.91)
_AASIST = (0.0080, 0.0044, 0.0, 0.0106, 0.0031, 0.0091, 0.0010, 0.0014, 0.0065, 0.0072, 0.0152, 0.0340, 0.0062)
_REFERENCES = (
    ReferenceColumn(
        name="CNN-Multiply (published)",
        metric="accuracy",
        values={**dict(zip(_CNN_ROWS, _CNN_MULTIPLY, strict=True)), "A08": None},
        source=_CNN_SOURCE,
    ),
    ReferenceColumn(
        name="CNN-3000 (published)",
        metric="accuracy",
        values={**dict(zip(_CNN_ROWS, _CNN_3000, strict=True)), "A08": None},
        source=_CNN_SOURCE,
    ),
    ReferenceColumn(
        name="AASIST (published)",
        metric="eer",
        values=dict(zip([f"A{number:02d}" for number in range(7, 20)], _AASIST, strict=True)),
        source=(
            "Jung et al. (2022), AASIST: audio anti-spoofing using integrated spectro-temporal graph attention networks,"
            " ICASSP, arXiv:2110.01200"
        ),
    ),
)


def is_asvspoof2019_la(trial_set: TrialSet) -> bool:
    """Whether the attacks are ASVspoof 2019 LA's: all of A01 to A19, on recordings that are not ASVspoof 5's.

    ASVspoof 5 uses the same codes for other attacks; its recordings are called `T_...`, `D_...` and `E_...` with ten digits.
    """
    attacks = trial_set.table["attack"].dropna().unique()
    if len(attacks) == 0 or not set(attacks) <= ATTACKS.keys():
        return False
    return not trial_set.table["utterance"].str.match(r"[TDE]_\d{10}$").any()


def reference_columns(trial_set: TrialSet) -> tuple[ReferenceColumn, ...]:
    """Published systems for sets with attacks of ASVspoof 2019 LA eval as they were (not sent through codecs); else none."""
    if not is_asvspoof2019_la(trial_set) or trial_set.table["codec"].notna().any():
        return ()
    attacks = set(trial_set.table["attack"].dropna().unique())
    return _REFERENCES if any(ATTACKS[attack].part == EVAL_PART for attack in attacks) else ()
