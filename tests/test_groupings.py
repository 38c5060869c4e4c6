"""core.evaluation.groupings and core.evaluation.trial_attributes: which trials a row holds, and what a set can be grouped by."""

from __future__ import annotations

import numpy as np
import pytest
from scored_sets import published_set, trials

from core.errors import CoreError
from core.evaluation.groupings import Group, groups_of
from core.evaluation.trial_attributes import GROUPING_TITLES, available_groupings
from core.evaluation.trial_sets import TrialSet


def rows_of(trial_set: TrialSet, grouping: str) -> dict[str, tuple[list[int], list[int], bool]]:
    return {
        group.key: (group.spoof.tolist(), group.bona_fide.tolist(), group.owns_bona_fide)
        for group in groups_of(trial_set, grouping)
    }


def test_attacks_meet_all_bona_fide_speech() -> None:
    trial_set = trials("bbsss", attack=[None, None, "y", "x", "y"])
    assert rows_of(trial_set, "attack") == {
        "human": ([], [0, 1], True),
        "x": ([3], [0, 1], False),
        "y": ([2, 4], [0, 1], False),
        "total": ([2, 3, 4], [0, 1], True),
    }


def test_conditions_sort_bona_fide_speech_too() -> None:
    trial_set = trials("bbss", codec=["mp3", None, "mp3", "opus"])
    assert rows_of(trial_set, "codec") == {
        "human": ([], [0, 1], True),
        "mp3": ([2], [0], True),
        "opus": ([3], [], True),
        "not known": ([], [1], True),
        "total": ([2, 3], [0, 1], True),
    }


def test_own_trials_of_a_condition_are_of_both_classes() -> None:
    group = next(group for group in groups_of(trials("bs", codec=["mp3", "mp3"]), "codec") if group.key == "mp3")
    assert sorted(group.own.tolist()) == [0, 1]


def test_durations_lie_in_bins_that_hold_their_lower_edge() -> None:
    trial_set = trials("bbbsss", duration_s=[0.99, 1.0, 11.0, 3.0, 10.0, float("nan")])
    groups = rows_of(trial_set, "duration")
    assert list(groups) == ["human", "under 1 s", "1-2 s", "3-4 s", "10 s and longer", "not known", "total"]
    assert groups["10 s and longer"] == ([4], [2], True)


def test_known_in_training() -> None:
    trial_set = trials("bsss", known_system=[None, True, False, None], attack=[None, "a", "b", "c"])
    assert list(rows_of(trial_set, "known")) == ["human", "known", "unknown", "not known", "total"]


def test_asvspoof_2019_attacks_have_families_and_generators() -> None:
    trial_set = trials("bsssss", attack=[None, "A08", "A11", "A16", "A17", "A19"])
    assert available_groupings(trial_set) == ("attack", "family", "generator", "known")
    assert rows_of(trial_set, "family") == {
        "human": ([], [0], True),
        "TTS": ([1, 2, 3], [0], False),
        "VC": ([4, 5], [0], False),
        "total": ([1, 2, 3, 4, 5], [0], True),
    }
    assert list(rows_of(trial_set, "generator"))[1:-1] == [
        "Griffin-Lim",
        "concatenation",
        "neural",
        "spectral filtering",
        "waveform filtering",
    ]
    assert rows_of(trial_set, "known")["known"][0] == [3, 5]  # A16 is A04's algorithm, A19 is A06's


def test_attacks_of_training_and_evaluation_are_never_pooled() -> None:
    names = ["LA_T_1000001", "LA_E_1000001", "LA_T_1000002", "LA_E_1000002", "elsewhere", "LA_E_1000003"]
    trial_set = trials("bbssbs", utterance=names, attack=[None, None, "A01", "A07", None, "A08"])
    assert rows_of(trial_set, "family") == {
        "human": ([], [0, 1, 4], True),
        "TTS, A01-A06": ([2], [0, 4], False),
        "TTS, A07-A19": ([3, 5], [1, 4], False),
        "total: A01-A06": ([2], [0, 4], True),
        "total: A07-A19": ([3, 5], [1, 4], True),
    }
    assert list(rows_of(trial_set, "attack")) == ["human", "A01", "A07", "A08", "total: A01-A06", "total: A07-A19"]


def test_asvspoof_5_has_other_attacks_under_the_same_codes() -> None:
    trial_set = trials("bs", utterance=["E_0000000001", "E_0000000002"], attack=[None, "A09"])
    assert available_groupings(trial_set) == ("attack",)
    assert [group.description for group in groups_of(trial_set, "attack") if group.key == "A09"] == [""]


def test_replay_codes_are_rooms_and_devices() -> None:
    trial_set = trials("bbss", environment=["aaa", "cba", "aaa", "bba"], attack=[None, None, "AA", "BC"])
    wanted = {"environment", "room_size", "t60", "talker_distance", "attacker_distance", "device_quality"}
    assert set(available_groupings(trial_set)) == {"attack"} | wanted
    assert rows_of(trial_set, "room_size") == {
        "human": ([], [0, 1], True),
        "2-5 m²": ([2], [0], True),
        "5-10 m²": ([3], [], True),
        "10-20 m²": ([], [1], True),
        "total": ([2, 3], [0, 1], True),
    }
    assert rows_of(trial_set, "device_quality") == {
        "human": ([], [0, 1], True),
        "perfect": ([2], [0, 1], False),
        "low": ([3], [0, 1], False),
        "total": ([2, 3], [0, 1], True),
    }


def test_environments_of_other_forms_stay_codes() -> None:
    trial_set = trials("bs", environment=["R1/M1/d1", "R2/M1/d1"])
    assert available_groupings(trial_set) == ("attack", "environment")
    assert list(rows_of(trial_set, "environment")) == ["human", "R1/M1/d1", "R2/M1/d1", "total"]


def test_without_attacks_there_is_one_group_of_spoofs() -> None:
    assert list(rows_of(trials("bss"), "attack")) == ["human", "not known", "total"]


@pytest.mark.parametrize(("grouping", "words"), [("colour", "one of attack"), ("speaker", "grouped by attack")])
def test_what_a_set_does_not_know_is_said(grouping: str, words: str) -> None:
    with pytest.raises(CoreError, match=words):
        groups_of(trials("bs"), grouping)


def test_every_grouping_has_a_title_and_an_own_pool_of_bona_fide_trials() -> None:
    trial_set = trials("bs", attack=[None, "x"])
    pooled: list[Group] = [group for group in groups_of(trial_set, "attack") if group.kind != "human"]
    assert len({id(group.bona_fide) for group in pooled}) == 1  # one bootstrap serves attacks and total
    assert len(GROUPING_TITLES) == 13


def test_the_evaluation_part_of_asvspoof_2019() -> None:
    groups = groups_of(published_set(), "attack")
    assert [group.key for group in groups] == ["human", *(f"A{number:02d}" for number in range(7, 20)), "total"]
    assert [len(group.spoof) for group in groups] == [0, *[4914] * 13, 63882]
    assert len(groups[0].bona_fide) == 7355
    assert available_groupings(published_set()) == ("attack", "family", "generator", "known", "speaker")
    speakers = groups_of(published_set(), "speaker")
    assert np.sort(np.concatenate([group.own for group in speakers if group.kind == "group"])).tolist() == list(range(71237))
