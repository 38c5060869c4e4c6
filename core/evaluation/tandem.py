"""The tandem detection cost (t-DCF): what a detector costs in front of a speaker verifier (ASV). Revisions of 2019 and 2021."""

from __future__ import annotations

import gzip
import os
import zlib
from dataclasses import dataclass, replace

import numpy as np

from core.errors import CoreError, ProtocolError
from core.metrics import equal_error_rate, error_rates

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


@dataclass(frozen=True, slots=True, kw_only=True)
class TandemWeights:
    """The cost as a function of the detector's two error rates: floor + rejecting x false alarm + accepting x miss."""

    floor: float
    """C0: what the verifier's own errors cost behind a detector that makes none; 0 where the revision leaves it out."""
    rejecting: float
    """C1: what it costs more when the detector calls all bona fide speech spoof."""
    accepting: float
    """C2: what it costs when the detector lets every spoof through to the verifier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TandemCosts:
    """Who comes to the verifier, what its errors cost behind the detector, and the revision of the formula."""

    prior_spoof: float
    prior_target: float
    """Of the target speaker; the rest are other speakers (nontarget)."""
    cost_miss: float
    """Of a target turned away, by the detector or the verifier."""
    cost_false_alarm: float
    """Of a nontarget let in."""
    cost_spoof: float
    """Of a spoof let in."""
    has_floor: bool
    """Whether the verifier's own errors count (2021) or not (2019, "legacy")."""

    def __post_init__(self) -> None:
        if not (self.prior_spoof > 0 and self.prior_target > 0 and self.prior_nontarget >= 0):
            raise CoreError(f"priors of target, nontarget and spoof must be positive and sum to 1, got {self}")
        if min(self.cost_miss, self.cost_false_alarm, self.cost_spoof) <= 0:
            raise CoreError(f"costs must be positive, got {self}")

    @property
    def prior_nontarget(self) -> float:
        return 1 - self.prior_spoof - self.prior_target

    def weights(self, asv: AsvErrorRates) -> TandemWeights:
        """The cost in front of a given verifier.

        A target is turned away by the detector (P), or passes it and is turned away by the verifier ((1 - P) miss); a
        nontarget is let in when both let it ((1 - P) false alarm), and so is a spoof. Weighted by priors and costs and
        ordered by the detector's error rates this gives C0, C1 = prior x cost of a target - C0, and C2.

        Raises:
            CoreError: the verifier is so poor, or stops so many spoofs by itself, that no detector could help it.
        """
        of_target = self.prior_target * self.cost_miss
        own = of_target * asv.miss + self.prior_nontarget * self.cost_false_alarm * asv.false_alarm
        accepting = self.prior_spoof * self.cost_spoof * (1 - asv.spoof_miss)
        if min(of_target - own, accepting) <= 0:
            raise CoreError(f"the speaker verifier ({asv}) is so poor, or stops so many spoofs, that a detector cannot help it")
        return TandemWeights(floor=own if self.has_floor else 0.0, rejecting=of_target - own, accepting=accepting)


# Evaluation plans of ASVspoof 2019 and 2021, tables of the t-DCF's parameters: 5 % of the trials are spoofs, of the rest
# 99 % are the target. The plans' numbers are the same; 2021 counts the verifier's own errors too.
ASVSPOOF_2019 = TandemCosts(
    prior_spoof=0.05, prior_target=0.95 * 0.99, cost_miss=1.0, cost_false_alarm=10.0, cost_spoof=10.0, has_floor=False
)
ASVSPOOF_2021 = replace(ASVSPOOF_2019, has_floor=True)


def read_asv_scores(path: str | os.PathLike[str]) -> AsvErrorRates:
    """Reads the organisers' ASV scores (`attack key score` lines, key target, nontarget or spoof; also gzipped).

    The verifier's threshold is where it confuses targets and nontargets equally often.

    Raises:
        ProtocolError: unreadable, a line of another form (with its number), or a key without trials.
        CoreError: a verifier that no detector could help, as `TandemCosts.weights`.
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
    rates = AsvErrorRates(
        miss=float((target < threshold).mean()),
        false_alarm=float((nontarget >= threshold).mean()),
        spoof_miss=float((spoof < threshold).mean()),
    )
    ASVSPOOF_2019.weights(rates)  # says early that the verifier cannot be helped
    return rates


def min_tandem_cost(scores: np.ndarray, is_spoof: np.ndarray, asv: AsvErrorRates, *, costs: TandemCosts = ASVSPOOF_2019) -> float:
    """min t-DCF: the cost at the detector's best threshold, 1 for a detector that says nothing.

    Args:
        scores: `[trial]`, higher means spoof.
        is_spoof: `[trial]` bool.
        asv: the verifier that judges what the detector lets through.
        costs: `ASVSPOOF_2019` or `ASVSPOOF_2021`.

    Raises:
        CoreError: one class only, or a score that is not finite.

    Source: Kinnunen et al. (2018), "t-DCF: a detection cost function for the tandem assessment of spoofing
    countermeasures and automatic speaker verification", as fixed in the ASVspoof 2019 evaluation plan ("legacy"); Kinnunen
    et al. (2020), "Tandem assessment of spoofing countermeasures and automatic speaker verification: fundamentals", as
    fixed in the ASVspoof 2021 evaluation plan (Delgado et al. 2021, arXiv:2109.00535).
    """
    _, miss, false_alarm = error_rates(scores, is_spoof)
    return float(tandem_cost(miss, false_alarm, asv, costs=costs).min())


def tandem_cost(miss: np.ndarray, false_alarm: np.ndarray, asv: AsvErrorRates, *, costs: TandemCosts = ASVSPOOF_2019) -> np.ndarray:
    """Normalised t-DCF at every operating point, `[..., point]`, of rates as `core.metrics.error_rates` gives them.

    ASVspoof's detector accepts bona fide speech, so its miss is our false alarm (bona fide called spoof), and the other
    way round: t-DCF = C0 + C1 P(bona fide called spoof) + C2 P(spoof called bona fide), over what the better of the two
    detectors costs that always say the same, C0 + min(C1, C2). Without C0 (2019) a perfect detector gets 0; with it
    (2021) what the verifier gets wrong by itself.
    """
    weights = costs.weights(asv)
    cost = weights.floor + weights.rejecting * false_alarm + weights.accepting * miss
    return cost / (weights.floor + min(weights.rejecting, weights.accepting))


def _add_line(scores: dict[str, list[float]], fields: list[str], place: str) -> None:
    if not fields:
        return
    if len(fields) != 3 or fields[1] not in _KEYS:
        raise ProtocolError(f"{place}: expected 3 columns (attack key score) with key target, nontarget or spoof.")
    try:
        scores[fields[1]].append(float(fields[2]))
    except ValueError:
        raise ProtocolError(f"{place}: {fields[2]!r} is not a number.") from None
