"""Typed failures: every error that a user can cause. Anything else is a bug and may crash."""

from __future__ import annotations


class CoreError(Exception):
    """A failure that a user can cause and mend; its text says what was expected and what came."""


class AudioRefusal(CoreError):
    """A recording that cannot be judged.

    Args:
        code: one of `REFUSAL_CODES`.
        message: one sentence for the analyst.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        if code not in REFUSAL_CODES:
            raise ValueError(f"unknown refusal code {code!r}")
        self.code = code


class DetectorError(CoreError):
    """A detector folder that is missing, damaged or of another version."""


class ProtocolError(CoreError):
    """A protocol file that does not parse or does not fit the recordings."""


class UnclearLabelsError(CoreError):
    """Labels of zeros and ones, of which nobody said which is the spoof."""


class ScoreFileError(CoreError):
    """A score file that does not parse or does not fit the trials it is about."""


class UnmappedColumnsError(ScoreFileError):
    """A table of scores whose columns do not tell by their names what they hold.

    Args:
        message: one sentence for the user.
        columns: to choose from.
    """

    def __init__(self, message: str, columns: tuple[str, ...]) -> None:
        super().__init__(message)
        self.columns = columns


class InvertedScoresError(CoreError):
    """Scores that rise with bona fide where they should rise with spoof: turned only when the user says so."""


class StoreError(CoreError):
    """A store that cannot be opened, written, or is of a newer version."""


class StoreUnavailableError(StoreError):
    """A store that cannot be reached or used for now: the same may succeed later."""


class ScanError(CoreError):
    """An audit that cannot start or go on."""


REFUSAL_CODES = {
    "unreadable": "the file could not be opened (permission, or it disappeared)",
    "undecodable": "no decoder could make sense of the file",
    "empty": "the file holds no audio samples",
    "too_short": "less than 0.5 s of audio",
    "too_long": "more than 24 hours, or far more than its bytes can hold",
    "decoder_crashed": "decoding it ended the process that tried",
    "decoder_hung": "decoding it came to no end",
    "non_finite": "the samples hold NaN or infinity",
    "cancelled": "the channels cancel each other in the mixdown",
    "silent": "nothing louder than -60 dBFS",
    "no_speech": "not enough speech-like signal",
    "no_score": "the detector's network gives no finite score",
}
"""Refusal code -> what it means, in words."""
DECODER_FAILURES = frozenset({"decoder_crashed", "decoder_hung"})
"""Codes of files that no process but one of their own may open."""
