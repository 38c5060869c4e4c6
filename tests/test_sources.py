"""training.sources: every layout is known, checked against its audio, divided by speaker, or refused in words."""

from __future__ import annotations

import gzip
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from core.errors import CoreError, ProtocolError
from core.protocols import read_protocol
from tests.corpora import protocol_of, write_asvspoof2019, write_tone, zipped
from training.layouts import OFFICIAL_COUNTS
from training.sources import SourceOptions, read_source
from training.splitting import split_by_speaker

FIXTURES = Path(__file__).parents[2] / "shared" / "fixtures" / "asvspoof2019"


def counts(source) -> dict[str, tuple[int, int]]:
    found = Counter((recording.split, recording.label) for recording in source.recordings)
    return {split: (found[split, "bona fide"], found[split, "spoof"]) for split in dict.fromkeys(key[0] for key in found)}


@pytest.mark.parametrize(
    ("access", "split", "file"),
    [
        ("la", "train", "train.trn"),
        ("la", "dev", "dev.trl"),
        ("la", "test", "eval.trl"),
        ("pa", "train", "train.trn"),
        ("pa", "dev", "dev.trl"),
    ],
)
def test_the_official_counts(access: str, split: str, file: str) -> None:
    path = FIXTURES / f"ASVspoof2019.{access.upper()}.cm.{file}.txt.gz"
    if not path.is_file():
        pytest.skip("needs the fixtures")
    labels = Counter(trial.label for trial in read_protocol(path).values())
    assert (labels["bona fide"], labels["spoof"]) == OFFICIAL_COUNTS[f"asvspoof2019-{access}"][split]


@pytest.mark.parametrize("access", ["LA", "PA"])
@pytest.mark.parametrize("below", ["", "sub"])
def test_asvspoof2019_from_either_folder_and_from_a_zip(tmp_path: Path, access: str, below: str) -> None:
    folder = write_asvspoof2019(tmp_path / "corpus", access=access)
    source = read_source(folder / access if below else folder)
    assert source.kind == f"asvspoof2019-{access.lower()}"
    assert counts(source) == {"train": (2, 2), "dev": (2, 2), "test": (2, 2)}
    spoof = source.recordings[1]
    assert (spoof.attack, spoof.environment) == (("AB", "abc") if access == "PA" else ("A01", None))
    packed = read_source(zipped(folder, tmp_path / f"{access}.zip"))
    strip = [(r.utterance, r.label, r.attack, r.speaker, r.split, r.environment) for r in source.recordings]
    assert [(r.utterance, r.label, r.attack, r.speaker, r.split, r.environment) for r in packed.recordings] == strip


def test_a_gzipped_protocol_within_a_zip(tmp_path: Path) -> None:
    folder = write_asvspoof2019(tmp_path / "corpus")
    for split in ("train", "dev", "eval"):
        protocol = protocol_of(folder, split)
        protocol.with_name(protocol.name + ".gz").write_bytes(gzip.compress(protocol.read_bytes()))
        protocol.unlink()
    assert counts(read_source(zipped(folder, tmp_path / "LA.zip"))) == {"train": (2, 2), "dev": (2, 2), "test": (2, 2)}


def test_both_accesses_beside_each_other_need_a_choice(tmp_path: Path) -> None:
    write_asvspoof2019(tmp_path, access="LA")
    write_asvspoof2019(tmp_path, access="PA")
    with pytest.raises(CoreError, match=r"looks like asvspoof2019-la and asvspoof2019-pa\. .*--kind"):
        read_source(tmp_path)
    assert read_source(tmp_path, SourceOptions(kind="asvspoof2019-pa")).recordings[0].corpus == "asvspoof2019-pa"


def test_missing_audio_is_an_error_unless_allowed(tmp_path: Path) -> None:
    folder = write_asvspoof2019(tmp_path, num=6)
    for number in (2, 3):
        (folder / "LA" / "ASVspoof2019_LA_train" / "flac" / f"LA_T_{number:07d}.flac").unlink()
    with pytest.raises(
        CoreError, match=r"2 of 18 recordings .* have no audio, the first: LA_T_0000002, LA_T_0000003\. .*--allow-m"
    ):
        read_source(folder)
    source = read_source(folder, SourceOptions(allow_missing=True))
    assert source.checks.missing == ("LA_T_0000002", "LA_T_0000003")
    assert counts(source)["train"] == (2, 2)


def test_extra_duplicate_and_unknown_key_are_counted(tmp_path: Path) -> None:
    folder = write_asvspoof2019(tmp_path)
    flac = folder / "LA" / "ASVspoof2019_LA_train" / "flac"
    write_tone(flac / "LA_T_A000001.flac", 7)
    write_tone(flac / "LA_T_7777777.flac", 8)
    shutil.copy(flac / "LA_T_0000001.flac", flac / "LA_T_0000001.wav")
    with open(protocol_of(folder), "a") as file:
        file.write("LA_0000 LA_T_0000000 - - bonafide\nLA_0001 LA_T_7777777 - - maybe\n")
    source = read_source(folder)
    assert source.checks.extra == ("LA/ASVspoof2019_LA_train/flac/LA_T_A000001.flac",)
    assert source.checks.duplicate == ("LA_T_0000000", "LA_T_0000001")
    assert source.checks.unknown_key == ("LA_T_7777777",)
    assert counts(source)["train"] == (2, 2)


@pytest.mark.parametrize(
    ("split", "line", "message"),
    [
        ("train", "LA_0000 LA_T_0000000 - A01 spoof\n", "LA_T_0000000 occurs twice, with two labels"),
        ("dev", "LA_0000 LA_T_0000000 - - bonafide\n", "LA_T_0000000 occurs twice, once as train and once as dev"),
        ("train", "LA_0000 LA_T_0000009\n", "expected 5 columns"),
    ],
)
def test_protocols_that_contradict_themselves(tmp_path: Path, split: str, line: str, message: str) -> None:
    folder = write_asvspoof2019(tmp_path)
    with open(protocol_of(folder, split), "a") as file:
        file.write(line)
    with pytest.raises((CoreError, ProtocolError), match=message):
        read_source(folder)


def test_one_class_only(tmp_path: Path) -> None:
    folder = write_asvspoof2019(tmp_path)
    path = protocol_of(folder, "dev")
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if "bonafide" in line))
    with pytest.raises(CoreError, match="The split dev holds bona fide recordings only, no spoofed ones"):
        read_source(folder)


@pytest.mark.parametrize("kind", [None, "asvspoof5", "real-fake"])
def test_an_unknown_layout_says_what_is_expected(tmp_path: Path, kind: str | None) -> None:
    write_tone(tmp_path / "a.wav", 1)
    with pytest.raises(CoreError, match=r"no layout that is known here\. Expected .*(flac_T|real/)"):
        read_source(tmp_path, SourceOptions(kind=kind))


def test_sources_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(CoreError, match=r"There is no .*nowhere"):
        read_source(tmp_path / "nowhere")
    whole = zipped(write_asvspoof2019(tmp_path / "corpus"), tmp_path / "LA.zip").read_bytes()
    (tmp_path / "short.zip").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.zip").write_text("no zip")
    for name in ("short.zip", "text.zip"):
        with pytest.raises(CoreError, match=rf"{name} is not a zip that can be read"):
            read_source(tmp_path / name)
    with pytest.raises(CoreError, match="'asvspoof2020' is not known here; expected one of asvspoof2019-la"):
        SourceOptions(kind="asvspoof2020")


def test_asvspoof2021_keys_and_subsets(tmp_path: Path) -> None:
    lines = [
        ("LA_E_1", "LA_0009 LA_E_1 alaw ita_tx A07 spoof notrim eval"),
        ("LA_E_2", "LA_0009 LA_E_2 alaw ita_tx bonafide bonafide notrim eval"),
        ("LA_E_3", "LA_0009 LA_E_3 alaw ita_tx A07 spoof notrim progress"),
        ("LA_E_4", "LA_0009 LA_E_4 alaw ita_tx A07 spoof trim hidden"),
    ]
    keys = tmp_path / "keys" / "LA"
    for part, text in (("CM", "\n".join(line for _, line in lines)), ("ASV", "LA_0009 LA_E_1 target bonafide notrim eval")):
        (keys / part).mkdir(parents=True)
        (keys / part / "trial_metadata.txt").write_text(text)
    for number, (utterance, _) in enumerate(lines):
        write_tone(tmp_path / "ASVspoof2021_LA_eval" / "flac" / f"{utterance}.flac", number)
    source = read_source(tmp_path)
    assert (source.kind, counts(source)) == ("asvspoof2021", {"test": (1, 1)})
    assert source.checks.left_out == ("LA_E_3", "LA_E_4")
    assert source.checks.extra == ()
    assert source.recordings[0].corpus == "asvspoof2021-la"
    assert counts(read_source(tmp_path, SourceOptions(subsets=("eval", "progress", "hidden")))) == {"test": (1, 3)}


def test_asvspoof5(tmp_path: Path) -> None:
    files = {"train": ("T", "flac_T"), "dev.track_1": ("D", "flac_D"), "eval.track_1": ("E", "flac_E_eval")}
    for word, (letter, folder) in files.items():
        lines = [f"{letter}_1 {letter}_000{n} F - - - - {'A05 spoof' if n else 'bonafide bonafide'} -" for n in range(2)]
        (tmp_path / f"ASVspoof5.{word}.tsv").write_text("\n".join(lines) + "\n")
        for number in range(2):
            write_tone(tmp_path / folder / f"{letter}_000{number}.flac", number)
    write_tone(tmp_path / "flac_E_eval" / "E_A0001.flac", 9)
    source = read_source(tmp_path)
    assert (source.kind, counts(source)) == ("asvspoof5", {"train": (1, 1), "dev": (1, 1), "test": (1, 1)})
    assert source.checks.extra == ("flac_E_eval/E_A0001.flac",)


def test_in_the_wild_is_divided_by_speaker_or_all_test(tmp_path: Path) -> None:
    rows = ["file,speaker,label"]
    for number in range(40):
        rows.append(f"{number}.wav,Speaker {number // 4},{'spoof' if number % 2 else 'bona-fide'}")
        write_tone(tmp_path / "release_in_the_wild" / f"{number}.wav", number, seconds=0.05)
    (tmp_path / "release_in_the_wild" / "meta.csv").write_text("\n".join(rows) + "\n")
    source = read_source(tmp_path)
    assert (source.kind, counts(source)) == ("in-the-wild", {"train": (16, 16), "dev": (4, 4)})
    assert source.recordings[0].utterance in {str(number) for number in range(40)}
    speakers = {split: {r.speaker for r in source.recordings if r.split == split} for split in ("train", "dev")}
    assert not speakers["train"] & speakers["dev"]
    assert read_source(tmp_path).recordings == source.recordings
    other = read_source(tmp_path, SourceOptions(seed=1))
    assert {r.speaker for r in other.recordings if r.split == "dev"} != speakers["dev"]
    assert counts(read_source(tmp_path, SourceOptions(as_split="test"))) == {"test": (20, 20)}
    assert read_source(tmp_path / "release_in_the_wild" / "meta.csv").kind == "in-the-wild"


def test_real_and_fake_folders(tmp_path: Path) -> None:
    for number in range(10):
        write_tone(tmp_path / "real" / f"{number}.wav", number, seconds=0.05)
        write_tone(tmp_path / "fake" / f"{number}.wav", 100 + number, seconds=0.05)
    source = read_source(tmp_path)
    assert (source.kind, counts(source)) == ("real-fake", {"train": (8, 8), "dev": (2, 2)})
    sides = {recording.utterance: recording.split for recording in source.recordings}
    assert all(sides[f"real/{number}"] == sides[f"fake/{number}"] for number in range(10))


def test_real_and_fake_folders_within_splits(tmp_path: Path) -> None:
    for folder in ("training", "validation", "testing"):
        for number, label in enumerate(("real", "fake")):
            write_tone(tmp_path / folder / label / "anna" / "1.wav", number, seconds=0.05)
    source = read_source(tmp_path)
    assert counts(source) == {"train": (1, 1), "dev": (1, 1), "test": (1, 1)}
    assert {recording.speaker for recording in source.recordings} == {"anna"}


def manifest(folder: Path, text: str, *, files: int = 4) -> Path:
    for number in range(files):
        write_tone(folder / "audio" / f"{number}.wav", number, seconds=0.05)
    path = folder / "list.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_manifest_with_all_columns(tmp_path: Path) -> None:
    far = write_tone(tmp_path / "elsewhere" / "x.wav", 9, seconds=0.05)
    text = (
        "Path, Label, attack, speaker, split, source\n"
        "audio/0.wav, Genuine, -, ann, train, page one\naudio/1.wav, fake, tacotron, ann, train, page one\n"
        f"audio/2.wav, real,, bob, val,\n{far}, SPOOF, , bob, validation,\n"
    )
    source = read_source(manifest(tmp_path, "\ufeff" + text))
    assert (source.kind, counts(source)) == ("manifest", {"train": (1, 1), "dev": (1, 1)})
    one = source.recordings[1]
    assert (one.utterance, one.attack, one.speaker, one.group, one.corpus) == ("audio/1", "tacotron", "ann", "page one", "list")
    assert source.checks.extra == ("audio/3.wav",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("where,label\naudio/0.wav,real\n", "lacks the column 'path'; expected path, label"),
        ("path,label\n", "holds no rows"),
        ("path,label\naudio/0.wav\n", "line 2: expected 2 columns as in line 1, found 1"),
        ("path,label,split\naudio/0.wav,real,spare\n", "line 2: the split is 'spare'; expected train, dev or test"),
        ("path,label,split\naudio/0.wav,real,train\naudio/1.wav,fake,\n", "1 of 2 recordings have no split"),
        ("path,label\naudio/0.wav,real\naudio/8.wav,fake\n", "1 of 2 recordings .* have no audio, the first: audio/8"),
        ("path,label\naudio/0.wav,real\naudio/1.wav,real\n", "bona fide recordings only"),
        ("path,label\naudio/0.wav,0\naudio/1.wav,1\n", r"the labels are 0 and 1, which does not say .* --one-means spoof"),
        ("path,label\naudio/0.wav,x\naudio/1.wav,y\n", r"has unknown labels \(x, y\); expected a word such as bonafide"),
        ("path,label,speaker\naudio/0.wav,real,a\naudio/1.wav,fake,b\n", "All bona fide recordings are of one speaker"),
    ],
)
def test_manifests_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(CoreError, match=message):
        read_source(manifest(tmp_path, text))


def test_a_manifest_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes(b"path,label\n\xff\xfe,real\n")
    with pytest.raises(CoreError, match=r"line 2: not UTF-8 text\. Save it as UTF-8"):
        read_source(tmp_path / "list.csv")


def test_our_corpus(corpus: Path) -> None:
    source = read_source(corpus)
    assert source.kind == "earwitness"
    assert counts(source) == {"train": (2_399, 2_373), "dev": (278, 265), "test": (380, 304)}
    by_name = {recording.utterance: recording for recording in source.recordings}
    one = by_name["EW_E_1004974"]
    assert (one.group, one.family, one.known_system) == (
        "bigpon/QuasiPeriodicWaveNet_demo",
        "neural-vocoder-copy-synthesis",
        True,
    )
    assert by_name["EW_E_1001520"].known_system is None
    sample = read_source(corpus / "asvspoof2019_sample")
    assert (sample.kind, counts(sample)) == ("asvspoof2019-la", {"train": (60, 51), "dev": (53, 52)})


@pytest.mark.parametrize("seed", range(20))
def test_division_by_speaker(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.full(40, 0.5))
    speakers = [f"s{number}" for number in rng.choice(40, 1_000, p=weights)]
    is_spoof = rng.random(1_000) < 0.8
    splits = np.array(split_by_speaker(speakers, list(is_spoof), seed=seed))
    in_dev, in_train = (set(np.array(speakers)[splits == split]) for split in ("dev", "train"))
    assert not in_dev & in_train
    for spoof in (False, True):
        assert 0.17 < np.mean(splits[is_spoof == spoof] == "dev") < 0.23
    assert list(splits) == split_by_speaker(speakers, list(is_spoof), seed=seed)


def test_division_of_few_speakers() -> None:
    assert sorted(set(split_by_speaker(["a", "a", "b", "b"], [True, False] * 2, seed=0))) == ["dev", "train"]
    with pytest.raises(CoreError, match="All spoof recordings are of one speaker"):
        split_by_speaker(["a", "b", "c"], [False, False, True], seed=0)


@pytest.mark.parametrize("seed", range(50))
def test_division_leaves_both_classes_on_both_sides(seed: int) -> None:
    """Any few speakers of any sizes, as long as each class has two."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 4, size=(rng.integers(2, 6), 2))
    counts[:2] += 1
    speakers = [f"s{number}" for number, row in enumerate(counts) for _ in range(row.sum())]
    is_spoof = [bool(label) for row in counts for label in (0, 1) for _ in range(row[label])]
    splits = split_by_speaker(speakers, is_spoof, seed=seed)
    assert {*zip(splits, is_spoof)} == {("train", False), ("train", True), ("dev", False), ("dev", True)}
    assert len({*zip(splits, speakers)}) == len(set(speakers))
