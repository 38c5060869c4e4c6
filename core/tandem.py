"""The tandem detection cost: what a detector costs in front of a speaker verifier (ASV), with the costs of ASVspoof 2019."""

from __future__ import annotations

import gzip
import os
import zlib
from dataclasses import dataclass

import numpy as np

from core.errors import CoreError, ProtocolError
from core.metrics import equal_error_rate, error_rates

# Priors and costs of ASVspoof 2019 (evaluation plan, table of t-DCF parameters): 5 % of the trials are spoofs, of the
# rest 99 % are the target speaker.
PRIOR_SPOOF = 0.05
PRIOR_TARGET = (1 - PRIOR_SPOOF) * 0.99
PRIOR_NONTARGET = (1 - PRIOR_SPOOF) * 0.01
COST_MISS_ASV, COST_FALSE_ALARM_ASV = 1.0, 10.0
COST_MISS_CM, COST_FALSE_ALARM_CM = 1.0, 10.0
_KEYS = ("target", "nontarget", "spoof")


@dataclass(frozen=True, slots=True, kw_only=True)
class AsvErrorRates:
    """What the speaker verifier does at its own threshold."""

    miss: float
    """Share of the target trials that it rejects."""
    false_alarm: float
    """Share of the nontarget trials that it accepts."""
    spoof_miss: float
    """Share of the spoofs that it rejects by itself."""

    def __post_init__(self) -> None:
        if not all(0 <= rate <= 1 for rate in (self.miss, self.false_alarm, self.spoof_miss)):
            raise CoreError(f"error rates of a speaker verifier must lie between 0 and 1, got {self}")
        if min(self.cost_of_rejecting, self.cost_of_accepting) <= 0:
            raise CoreError(f"the speaker verifier ({self}) is so poor, or stops so many spoofs, that a detector cannot help it")

    @property
    def cost_of_rejecting(self) -> float:
        """C1: what it costs more when the detector calls all bona fide speech spoof."""
        return PRIOR_TARGET * (COST_MISS_CM - COST_MISS_ASV * self.miss) - PRIOR_NONTARGET * COST_FALSE_ALARM_ASV * self.false_alarm

    @property
    def cost_of_accepting(self) -> float:
        """C2: what it costs when the detector lets every spoof through to the verifier."""
        return COST_FALSE_ALARM_CM * PRIOR_SPOOF * (1 - self.spoof_miss)


def read_asv_scores(path: str | os.PathLike[str]) -> AsvErrorRates:
    """Reads the organisers' ASV scores (`attack key score` lines, key target, nontarget or spoof; also gzipped).

    The verifier's threshold is where it confuses targets and nontargets equally often.

    Raises:
        ProtocolError: unreadable, a line of another form (with its number), or a key without trials.
    """
    scores: dict[str, list[float]] = {key: [] for key in _KEYS}
    opened = gzip.open if os.fspath(path).endswith(".gz") else open
    try:
        with opened(path, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                _add_line(scores, line.split(), f"{path}, line {number}")
    except (OSError, UnicodeDecodeError, EOFError, zlib.error) as error:
        raise ProtocolError(f"The ASV scores {path} could not be read: {error}.") from None
    missing = [key for key in _KEYS if not scores[key]]
    if missing:
        raise ProtocolError(f"{path} holds no {' and no '.join(missing)} trials; the t-DCF needs target, nontarget and spoof.")
    target, nontarget, spoof = (np.array(scores[key]) for key in _KEYS)
    is_target = np.arange(len(target) + len(nontarget)) < len(target)
    _, threshold = equal_error_rate(np.concatenate([target, nontarget]), is_target)
    return AsvErrorRates(
        miss=float((target < threshold).mean()),
        false_alarm=float((nontarget >= threshold).mean()),
        spoof_miss=float((spoof < threshold).mean()),
    )


def min_tandem_cost(scores: np.ndarray, is_spoof: np.ndarray, asv: AsvErrorRates) -> float:
    """min t-DCF: the cost at the detector's best threshold, 1 for a detector that says nothing.

    Args:
        scores: `[trial]`, higher means spoof.
        is_spoof: `[trial]` bool.
        asv: the verifier that judges what the detector lets through.

    Raises:
        CoreError: one class only, or a score that is not finite.

    Source: Kinnunen et al. (2018), "t-DCF: a detection cost function for the tandem assessment of spoofing
    countermeasures and automatic speaker verification", as fixed in the ASVspoof 2019 evaluation plan ("legacy" costs).
    """
    _, miss, false_alarm = error_rates(scores, is_spoof)
    return float(tandem_cost(miss, false_alarm, asv).min())


def tandem_cost(miss: np.ndarray, false_alarm: np.ndarray, asv: AsvErrorRates) -> np.ndarray:
    """Normalised t-DCF at every operating point, `[..., point]`, of rates as `core.metrics.error_rates` gives them.

    ASVspoof's detector accepts bona fide speech, so its miss is our false alarm (bona fide called spoof), and the other
    way round: t-DCF = C1 P(bona fide called spoof) + C2 P(spoof called bona fide), over the lower of C1 and C2, the
    cost of the better of the two detectors that always say the same.
    """
    cost = asv.cost_of_rejecting * false_alarm + asv.cost_of_accepting * miss
    return cost / min(asv.cost_of_rejecting, asv.cost_of_accepting)


def _add_line(scores: dict[str, list[float]], fields: list[str], place: str) -> None:
    if not fields:
        return
    if len(fields) != 3 or fields[1] not in _KEYS:
        raise ProtocolError(f"{place}: expected 3 columns (attack key score) with key target, nontarget or spoof.")
    try:
        scores[fields[1]].append(float(fields[2]))
    except ValueError:
        raise ProtocolError(f"{place}: {fields[2]!r} is not a number.") from None
