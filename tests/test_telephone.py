"""core.stress.telephone: which detector is advised for telephone recordings, by stress tables shipped and made by hand."""

from __future__ import annotations

from dataclasses import replace

from stress_records import phone_share, stress_table

from core.checkpoints import find_detectors
from core.stress.records import StressTable
from core.stress.table_files import find_tables
from core.stress.telephone import telephone_advice, turned_share


def table(name: str, num_opposite: int, *, set_name: str = "set", **of_share: str) -> StressTable:
    shares = (phone_share(num_opposite, **of_share),)
    return replace(stress_table(), detector_name=name, detector_hash=f"hash of {name}", set_name=set_name, shares=shares)


def advice(*tables: StressTable, installed: tuple[str, ...] = ("one", "other")) -> str | None:
    return telephone_advice(tables, "hash of one", {f"hash of {name}" for name in installed})


def test_the_detector_that_turns_fewer_than_half_as_many_is_advised() -> None:
    assert "one turns 50 %" in advice(table("one", 20), table("other", 9))
    assert "other 22 %" in advice(table("one", 20), table("other", 9))
    assert advice(table("one", 20), table("other", 10)) is None
    assert advice(table("one", 0), table("other", 0)) is None


def test_only_like_is_compared_with_like() -> None:
    assert advice(table("one", 20), table("other", 1), installed=("one",)) is None
    assert advice(table("one", 20), table("other", 1, set_name="another set")) is None
    assert advice(table("one", 20), table("other", 1, condition="room_large")) is None
    assert advice(table("one", 20), table("other", 1, label="spoof")) is None
    assert advice(table("other", 1)) is None


def test_the_shares_of_all_lines_add_up() -> None:
    of_two = table("one", 20)
    assert turned_share(replace(of_two, shares=(*of_two.shares, *table("one", 0, condition="phone_g711_alaw").shares))) == 0.25


def test_the_shipped_detectors() -> None:
    tables, installed = [found for _, found in find_tables().found], find_detectors()
    hashes = {detector.name: detector.hash for detector in installed}
    words = telephone_advice(tables, hashes["vgg27-spectrogram"], set(hashes.values()))
    assert words.endswith("score telephone recordings with vgg27-telephone.")
    assert telephone_advice(tables, hashes["vgg27-telephone"], set(hashes.values())) is None
