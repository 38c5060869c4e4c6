"""core.evaluation.agreement: Cohen's kappa by hand and by scikit-learn; the newest review of each analyst counts."""

from __future__ import annotations

import numpy as np
import pytest
from ledger_records import make_audit, scored
from sklearn.metrics import cohen_kappa_score

from core.errors import CoreError
from core.evaluation.agreement import CHOICES, agreements, cohen_kappa, disagreements
from core.store.store import Store
from core.store.triage import add_reviews


@pytest.fixture
def store(any_store: Store) -> Store:
    return any_store


def test_kappa_by_hand() -> None:
    # Cohen's own kind of table: 35 of 50 the same, by chance 0.5 * 0.6 + 0.5 * 0.4 = 0.5.
    assert cohen_kappa(np.array([[20, 5], [10, 15]])) == pytest.approx((0.7 - 0.5) / 0.5)
    assert cohen_kappa(np.eye(3) * 4) == 1.0
    assert np.isnan(cohen_kappa(np.array([[7, 0], [0, 0]])))
    with pytest.raises(CoreError, match="at least one recording"):
        cohen_kappa(np.zeros((2, 2)))


def test_kappa_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        table = rng.integers(0, 9, (3, 3))
        pairs = [(a, b) for a in range(3) for b in range(3) for _ in range(table[a, b])]
        first, second = zip(*pairs, strict=True)
        assert cohen_kappa(table) == pytest.approx(cohen_kappa_score(first, second))


def test_pairs_of_analysts_and_where_they_differ(store: Store) -> None:
    audit_id, ids = make_audit(store, [scored(f"{i}.wav", float(i)) for i in range(6)])

    def review(names: str, verdict: str, reviewer: str) -> None:
        add_reviews(store, [ids[f"{name}.wav"] for name in names], verdict=verdict, reviewer=reviewer)

    review("0123", "spoof", "Ada")
    review("45", "bona fide", "Ada")
    review("1", "bona fide", "Ben")
    review("012", "spoof", "Ben")  # the newest word counts
    review("34", "bona fide", "Ben")
    review("5", "inconclusive", "Cem")
    found = agreements(store, audit_id)
    assert [(pair.first, pair.second, pair.num_both, pair.num_same) for pair in found] == [
        ("Ada", "Ben", 5, 4),
        ("Ada", "Cem", 1, 0),
    ]
    spoof, bona_fide = CHOICES.index("spoof"), CHOICES.index("bona fide")
    assert found[0].table[spoof][spoof] == 3
    assert found[0].table[spoof][bona_fide] == 1
    # p_o = 0.8, p_e = 0.8 * 0.6 + 0.2 * 0.4 = 0.56
    assert found[0].kappa.value == pytest.approx((0.8 - 0.56) / 0.44)
    assert found[0].kappa.low < found[0].kappa.value <= found[0].kappa.high
    assert [(one.path, one.said) for one in disagreements(store, audit_id)] == [
        ("5.wav", (("Ada", "bona fide"), ("Cem", "inconclusive"))),
        ("3.wav", (("Ada", "spoof"), ("Ben", "bona fide"))),
    ]
    assert disagreements(store, audit_id, limit=1)[0].path == "5.wav"


def test_one_analyst_alone_agrees_with_nobody(store: Store) -> None:
    audit_id, ids = make_audit(store, [scored("a.wav", 1.0)])
    add_reviews(store, list(ids.values()), verdict="spoof", reviewer="Ada")
    assert agreements(store, audit_id) == disagreements(store, audit_id) == ()
