"""One recording under all conditions: its survival card, with the smallest change along each line that flips the verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

import numpy as np

from core.checkpoints import Detector
from core.detect import BATCH_WINDOWS, Scorer
from core.errors import AudioRefusal
from core.records import Verdict
from core.stress.conditions import CONDITIONS, FAMILY_TITLES, Condition, apply_condition, unavailable
from core.stress.records import SmallestFlip, StressedScore, SurvivalCard
from core.stress.scoring import Judgement, judge_all

_TOGETHER = BATCH_WINDOWS // 2


def stress_recording(
    detector: Detector,
    samples: np.ndarray,
    conditions: Sequence[Condition] | None = None,
    *,
    seed: int = 0,
    scorer: Scorer | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> SurvivalCard:
    """Does a verdict survive?

    Args:
        detector: which one.
        samples: `[time]` float32 at 16 kHz.
        conditions: all that this machine can make, for None.
        seed: of noise and rooms.
        scorer: the detector, opened already.
        on_progress: told how many conditions are done, of how many.

    Raises:
        AudioRefusal: the recording as it is cannot be judged.
        CoreError: samples that are not one channel, or a condition that this machine cannot make.
    """
    scorer = scorer or Scorer(detector)
    samples = np.asarray(samples, dtype=np.float32)
    clean = judge_all(scorer, [samples])[0]
    if clean.score is None:
        raise AudioRefusal("no_score", f"The recording as it is was refused, so there is no verdict to stress: {clean.reason}")
    chosen = [c for c in CONDITIONS.values() if unavailable(c) is None] if conditions is None else list(conditions)
    rows: list[StressedScore] = []
    for first in range(0, len(chosen), _TOGETHER):
        part = chosen[first : first + _TOGETHER]
        judged = judge_all(scorer, [apply_condition(samples, condition, seed=seed) for condition in part])
        rows += [_row(condition, one, clean) for condition, one in zip(part, judged, strict=True)]
        if on_progress is not None:
            on_progress(len(rows), len(chosen))
    return card_of(detector, clean, rows, seed=seed)


def card_of(detector: Detector, clean: Judgement, rows: Sequence[StressedScore], *, seed: int = 0) -> SurvivalCard:
    """The card of a recording from what was said of it as it is and under each condition."""
    phones = [row.survives for row in rows if row.condition.family == "phone"]
    flips = smallest_flips(rows, clean.verdict)
    return SurvivalCard(
        detector_name=detector.name,
        detector_hash=detector.hash,
        score=clean.score,
        verdict=clean.verdict,
        rows=tuple(rows),
        smallest_flip=flips,
        survives_phone=all(phones) if phones else None,
        words=_card_words(clean, rows, flips, has_verdicts=detector.manifest.thresholds is not None),
        seed=seed,
    )


def smallest_flips(rows: Sequence[StressedScore], verdict: Verdict) -> tuple[SmallestFlip, ...]:
    """For each line of conditions, the mildest under which the verdict is another one."""
    order = {id(row): place for place, row in enumerate(rows)}
    lines = sorted(rows, key=lambda row: (row.condition.family, row.condition.line, row.condition.severity, order[id(row)]))
    found = [_flip(list(line), verdict) for _, line in groupby(lines, key=lambda row: (row.condition.family, row.condition.line))]
    place = {(row.condition.family, row.condition.line): i for i, row in reversed(list(enumerate(rows)))}
    return tuple(sorted(found, key=lambda flip: place[flip.family, flip.line]))


def _row(condition: Condition, judged: Judgement, clean: Judgement) -> StressedScore:
    return StressedScore(
        condition=condition,
        score=judged.score,
        verdict=judged.verdict,
        change=None if judged.score is None else judged.score - clean.score,
        reason=judged.reason,
        survives=judged.verdict is clean.verdict,
    )


def _flip(line: list[StressedScore], verdict: Verdict) -> SmallestFlip:
    first = next((row for row in line if not row.survives), None)
    mildest, strongest = line[0].condition, line[-1].condition
    if first is None:
        words = f"Stays {verdict} with {_in_words(mildest)}."
        if len(line) > 1:
            words = f"Stays {verdict} up to {_in_words(strongest)}."
    elif first.verdict is Verdict.REFUSED:
        words = f"Can no longer be judged with {_in_words(first.condition)}: {first.reason}"
    else:
        words = f"Becomes {first.verdict} with {_in_words(first.condition)}."
        later = [row for row in line[line.index(first) + 1 :] if row.survives]
        if later:
            words = words[:-1] + f", though not with {', '.join(_in_words(row.condition) for row in later)}."
    return SmallestFlip(
        family=line[0].condition.family,
        line=line[0].condition.line,
        condition=first.condition if first else None,
        verdict=first.verdict if first else None,
        words=words,
    )


def _in_words(condition: Condition) -> str:
    """A title within a sentence: its first letter small, unless it is a name's."""
    title = condition.title
    return title if title[:2].isupper() or condition.family in ("codec",) else title[0].lower() + title[1:]


def _card_words(clean: Judgement, rows: Sequence[StressedScore], flips: Sequence[SmallestFlip], *, has_verdicts: bool) -> str:
    if not has_verdicts:
        changes = [abs(row.change) for row in rows if row.change is not None]
        most = f" The score moves by up to {max(changes):.2f}." if changes else ""
        return f"The detector has no thresholds and gives no verdict that could flip.{most}"
    if not rows:
        return "No condition was tried."
    num = sum(row.survives for row in rows)
    sentences = [f"The verdict {clean.verdict} (score {clean.score:+.2f}) stays under {num} of {len(rows)} conditions."]
    phones = [row for row in rows if row.condition.family == "phone"]
    if phones:
        lost = [_in_words(row.condition) for row in phones if not row.survives]
        call = (
            "It survives a phone call on every line tried." if not lost else f"It does not survive a phone call: {'; '.join(lost)}."
        )
        sentences.append(call)
    shaken = sorted({flip.family for flip in flips if flip.condition is not None} - {"phone"}, key=list(FAMILY_TITLES).index)
    if shaken:
        sentences.append(f"It also flips within: {', '.join(FAMILY_TITLES[family].lower() for family in shaken)}.")
    opposite = {Verdict.SPOOF: Verdict.BONA_FIDE, Verdict.BONA_FIDE: Verdict.SPOOF}.get(clean.verdict)
    turned = [_in_words(row.condition) for row in rows if row.verdict is opposite]
    if turned:
        sentences.append(f"It turns into its opposite, {opposite}, with {'; '.join(turned)}.")
    return " ".join(sentences)
