"""The terms and warnings that pages and documents use, each in a sentence. Defines nothing that is computed."""

from __future__ import annotations

TERMS: dict[str, str] = {
    "Bona fide": "Speech that a person spoke into a microphone, not changed to deceive.",
    "Spoof": "Speech made or changed to pass as somebody's: text-to-speech, voice conversion, a copy by a vocoder, a replay.",
    "Spoof score": "How much likelier it is among spoofs than among bona fide speech, as a natural logarithm; 0 is neither.",
    "Nats": "The unit of natural logarithms: +1 is 2.7 times, +2.3 ten times, +4.6 a hundred times likelier spoof.",
    "Calibration": "Turning a network's output into a log-likelihood ratio, so that a score means the same from day to day.",
    "Threshold": "The score from which a recording is called spoof; moving it trades one kind of error for the other.",
    "Inconclusive": "A score between the two thresholds: the detector would be wrong too often if it had to decide.",
    "Refused": "A recording that cannot be judged, with the reason; it is never counted as bona fide.",
    "Unfamiliar": "A recording that is unlike what the detector was trained on: a warning, whatever the verdict.",
    "False alarm": "A bona fide recording that is called spoof.",
    "Miss": "A spoof that is called bona fide.",
    "EER": "Equal error rate: the share of wrong calls at the threshold where both kinds of error are equally frequent.",
    "AUC": "Area under the ROC curve: how often a spoof scores above a bona fide recording; 50 % is chance.",
    "Cllr": "Cost of the scores as log-likelihood ratios, in bits: 0 is perfect, 1 is what no information costs.",
    "t-DCF": "Tandem detection cost: what a speaker verification system loses through the detector's errors; 1 is no detector.",
    "DET": "Detection error trade-off: misses against false alarms at every threshold; lower left is better.",
    "95 % interval": "Were the figure measured anew on other speakers, such an interval would hold the true value 95 times in 100.",
    "Saliency": "A map of what a detector looked at in a recording; it says something only where its tests say so.",
}
"""Term -> sentence, in the order in which a reader meets them."""

WARNINGS = {
    "narrowband": "Telephone bandwidth: little above 4 kHz. The detector is less reliable here.",
    "clipped": "Clipped: more than 0.1 % of the samples are at full scale.",
    "much_silence": "More than 60 % of the recording is silence; only the rest was judged.",
    "compressed": "Lossy coding at a low bit rate (under 24 kbit/s per channel) hides the traces of synthesis.",
    "short": "Shorter than 2 s: little evidence, read the score with care.",
    "truncated": "The file ends before the length that its header declares; what is there was judged.",
    "more_tracks": "The file holds further sound tracks, which were not judged. Save each as a file of its own to judge it.",
    "unread_bytes": "The file holds bytes that no decoder reaches and that may be more sound; they were not judged.",
    "quiet": "Very quiet: the active parts are below -45 dBFS.",
    "unfamiliar": "Unlike the recordings that the detector was trained on.",
}
"""Warning code -> one sentence for the analyst."""


def explained(*terms: str) -> str:
    """These terms with their sentences, as Markdown, for the help of a widget."""
    return "\n".join(f"- **{term}**: {TERMS[term]}" for term in terms) + "\n\nMore: page *Help*, *Terms*."
