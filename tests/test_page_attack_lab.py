"""Attack lab: empty, working and failing; parameters, links, what is missing on a machine, saving."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from streamlit.testing.v1 import AppTest
from stress_records import run_in_pytorch

from core.attacks import kind_records
from core.attacks.kinds import ATTACK_KINDS
from core.attacks.lab import SOURCE, judge
from core.attacks.make import make_spoof, spoof_seed
from core.audio import load, sha256_of
from core.records import ScanSettings, TriageFilter
from core.scanning.browse import SAMPLES_FOLDER
from core.scanning.scan import prepare_audit, run_audit
from core.store.triage import matching_entries

HOME = str(Path(__file__).parents[1] / "Home.py")
SAMPLE = SAMPLES_FOLDER / "flite" / "flite_slt_invoice.flac"


def _words(app: AppTest) -> str:
    parts = [*app.markdown, *app.caption, *app.info, *app.warning, *app.error, *app.text, *app.success, *app.expander]
    return "\n".join(str(getattr(part, "value", getattr(part, "label", ""))) for part in parts).replace("\\", "")


@pytest.fixture
def page(lively_detector, store_url, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("EARWITNESS_ROOTS", str(tmp_path))
    run_in_pytorch(monkeypatch)
    app = AppTest.from_file(HOME, default_timeout=120).switch_page("pages/7_Attack_lab.py")
    app.query_params["attack"] = ["mel_smoothing", "lpc_copy"]
    return app


@pytest.fixture
def chosen(page: AppTest) -> AppTest:
    """The page with a sample chosen."""
    page.run()
    page.button_group(key="attack-source").set_value("Samples").run()
    return page.multiselect(key="attack-samples").select(str(SAMPLE)).run()


@pytest.fixture
def made(chosen: AppTest) -> AppTest:
    """The page with two spoofs of the sample."""
    chosen.button(key="attack-make").click().run()
    assert not chosen.exception
    assert not chosen.error
    return chosen


def _wav(samples: np.ndarray, rate_hz: int = 16_000) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate_hz, format="WAV")
    return buffer.getvalue()


def test_empty_state(page: AppTest) -> None:
    page.run()
    assert not page.exception
    assert "Nothing chosen yet" in _words(page)
    assert page.button(key="attack-make").disabled
    assert not page.get("plotly_chart")
    assert page.button_group(key="attack-kinds-copy synthesis").value == ["mel_smoothing", "lpc_copy"]


def test_an_unknown_attack_in_the_address_is_told(page: AppTest) -> None:
    page.query_params["attack"] = ["griffin_lim", "a<b>c"]
    page.run()
    assert not page.exception
    assert "an attack that there is not: a<b>c" in _words(page)
    assert page.button_group(key="attack-kinds-copy synthesis").value == ["griffin_lim"]


def test_samples_are_told_to_be_synthetic(chosen: AppTest) -> None:
    assert "synthetic speech themselves" in _words(chosen)
    assert chosen.button(key="attack-make").label == "Make 2 spoofs"


def test_spoofs_are_scored_by_every_detector_heard_and_kept(made: AppTest, lively_detector) -> None:
    table = made.dataframe[0].value
    assert list(table["Attack"]) == ["The recordings as they are", "Mel smoothing", "LPC vocoder copy"]
    assert "lively" in table.columns
    assert "vgg27-spectrogram" in table.columns
    spoof = make_spoof(
        load(SAMPLE)[0].numpy(), "lpc_copy", seed=spoof_seed(0, sha256_of(SAMPLE), "lpc_copy"), parameters={"order": 18}
    )
    verdict = judge(lively_detector, spoof.samples, source="x", attack="lpc_copy")
    assert table["lively"][2] == f"1 {verdict.verdict}; median {verdict.score:+.2f}"
    assert len(made.get("plotly_chart")) == 2
    assert len(made.get("audio")) == 3
    made.button_group(key="picture-format").set_value("SVG").run()
    assert list(made.dataframe[0].value["Attack"])[1] == "Mel smoothing"
    assert "made with other choices" not in _words(made)


def test_other_choices_are_told_until_they_are_made(made: AppTest) -> None:
    made.number_input(key="attack-seed").set_value(7).run()
    assert "made with other choices" in _words(made)
    made.button(key="attack-make").click().run()
    assert not made.exception
    assert "made with other choices" not in _words(made)


def test_strength_is_a_slider_per_parameter_and_what_is_drawn_can_be_fixed(page: AppTest) -> None:
    page.query_params["attack"] = ["lpc_copy", "pitch_shift"]
    page.run()
    assert page.slider(key="attack-lpc_copy-order").value == 18
    assert not [slider for slider in page.slider if slider.key == "attack-pitch_shift-pitch_semitones"]
    page.toggle(key="attack-drawn-pitch_shift").set_value(False).run()
    assert page.slider(key="attack-pitch_shift-pitch_semitones").value == 4.0
    page.button_group(key="attack-source").set_value("Samples").run()
    page.multiselect(key="attack-samples").select(str(SAMPLE)).run()
    page.slider(key="attack-pitch_shift-pitch_semitones").set_value(-3.0).run()
    page.button(key="attack-make").click().run()
    assert not page.exception
    assert "Pitch -3 semitones" in _words(page)


def test_a_missing_engine_is_named_with_how_to_install_it(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(kind_records.PROGRAMS, "festival", "no-such-program")
    monkeypatch.setitem(kind_records.PROGRAMS, "flite", "sh")  # stands for an engine that is there, on any machine
    page.query_params["attack"] = ["festival", "mel_smoothing"]
    page.run()
    assert not page.exception
    assert "Festival" in _words(page)
    assert "apt-get install festival" in _words(page)
    engines = next(group for group in page.get("button_group") if group.key == "attack-kinds-text-to-speech")
    assert "Flite" in engines.options
    assert "Festival" not in engines.options


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (np.zeros(32_000), "could not be made"),
        (0.1 * np.random.default_rng(0).standard_normal(4_000), "could not be made"),
    ],
    ids=["silence", "a quarter of a second"],
)
def test_what_cannot_be_attacked_is_told(page: AppTest, samples: np.ndarray, words: str) -> None:
    page.run()
    page.file_uploader(key="attack-upload").set_value([("a b.wav", _wav(samples), "audio/wav")]).run()
    assert not page.exception
    page.button(key="attack-make").click().run()
    assert not page.exception
    assert words in _words(page)
    assert "refused" in page.dataframe[0].value.iloc[0, 1]


def test_a_file_that_is_no_audio_is_told(page: AppTest) -> None:
    page.run()
    page.file_uploader(key="attack-upload").set_value([("a.wav", b"no audio", "audio/wav")]).run()
    assert not page.exception
    assert page.error
    assert page.button(key="attack-make").disabled


def test_a_recording_at_8_khz_and_a_twin_of_it(page: AppTest) -> None:
    samples, _ = soundfile.read(SAMPLE)
    data = _wav(samples[::2], 8_000)
    page.run()
    page.file_uploader(key="attack-upload").set_value([("a.wav", data, "audio/wav"), ("b.wav", data, "audio/wav")]).run()
    assert "the same recording" in _words(page)
    assert page.button(key="attack-make").label == "Make 2 spoofs"
    page.button(key="attack-make").click().run()
    assert not page.exception
    assert "could not be made" not in _words(page)


@pytest.fixture
def audited(page: AppTest, store, lively_detector, tmp_path: Path, write_recordings) -> AppTest:
    write_recordings(tmp_path / "calls", 2)
    run_audit(store, prepare_audit(store, str(tmp_path / "calls"), lively_detector, ScanSettings()))
    return page


def test_a_linked_file_of_an_audit_is_chosen(audited: AppTest, store) -> None:
    entry_id = matching_entries(store, 1, TriageFilter())[0]
    audited.query_params["entry"] = str(entry_id)
    audited.run()
    assert not audited.exception
    files = next(box for box in audited.multiselect if box.label.startswith("Files"))
    assert files.value == [entry_id]
    assert not audited.button(key="attack-make").disabled


def test_a_file_of_an_audit_that_is_gone_is_told(audited: AppTest, store, tmp_path: Path) -> None:
    audited.query_params["entry"] = str(matching_entries(store, 1, TriageFilter())[0])
    for path in (tmp_path / "calls").glob("*.wav"):
        path.unlink()
    audited.run()
    assert not audited.exception
    assert "cannot be read any more" in _words(audited)


def test_without_an_audit_the_page_says_so(page: AppTest) -> None:
    page.run()
    page.button_group(key="attack-source").set_value("An audit").run()
    assert not page.exception
    assert "No audits yet" in _words(page)


def test_a_zip_holds_sources_spoofs_and_a_protocol(made: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    made.button(key="attack-pack").click().run()
    assert not made.exception
    assert "1 bona fide recordings and 2 spoofs" in _words(made).replace("1 bona fide recording and", "1 bona fide recordings and")
    held = made.session_state["attack-zip"][1]
    with zipfile.ZipFile(io.BytesIO(held)) as archive:
        names = archive.namelist()
        lines = archive.read("protocol.txt").decode().splitlines()
    assert sum(name.endswith(".flac") for name in names) == 3
    assert sorted(line.split()[-1] for line in lines) == ["bonafide", "spoof", "spoof"]
    assert {line.split()[-2] for line in lines} == {"-", "mel_smoothing", "lpc_copy"}
    assert any(button.label.startswith("Download (") for button in made.get("download_button"))


def test_what_is_saved_is_what_was_heard_also_where_another_recording_steers_it(page: AppTest, tmp_path: Path) -> None:
    page.query_params["attack"] = ["spectral_filtering"]
    page.run()
    page.button_group(key="attack-source").set_value("Samples").run()
    for sample in (SAMPLE, SAMPLES_FOLDER / "espeak-ng" / "espeak-ng_en-gb_statement.wav"):
        page.multiselect(key="attack-samples").select(str(sample)).run()
    page.button(key="attack-make").click().run()
    heard = page.session_state["attack-results"].spoofs
    assert len(heard) == 2
    page.text_input(key="attack-folder").set_value(str(tmp_path / "set")).run()
    page.button(key="attack-write").click().run()
    assert not page.exception
    saved = [load(path)[0].numpy() for path in sorted((tmp_path / "set" / "flac").glob("*spectral*"))]
    for spoof in heard:
        assert any(len(one) == len(spoof.made.samples) and abs(one - spoof.made.samples).max() < 1e-4 for one in saved)


def test_a_folder_is_written_once_and_only_within_the_roots(made: AppTest, tmp_path: Path) -> None:
    made.text_input(key="attack-folder").set_value(str(tmp_path / "spoofs")).run()
    made.button(key="attack-write").click().run()
    assert not made.exception
    assert not made.error
    assert (tmp_path / "spoofs" / "protocol.txt").is_file()
    assert str(tmp_path / "spoofs") in _words(made)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    for folder in (tmp_path / "other", "/proc/spoofs"):
        made.text_input(key="attack-folder").set_value(str(folder)).run()
        made.button(key="attack-write").click().run()
        assert not made.exception
        assert made.error
    assert (tmp_path / "other" / "mine.txt").read_text() == "mine"


def test_the_command_for_whole_folders_names_kinds_and_fixed_parameters(chosen: AppTest) -> None:
    command = next(code.value for code in chosen.code if "core attack" in code.value)
    assert "--kinds mel_smoothing lpc_copy" in command
    assert "--set lpc_copy.order=18" in command
    assert "--seed 0" in command


def test_every_kind_has_a_place_in_the_menu(page: AppTest) -> None:
    page.run()
    offered = {option for group in page.get("button_group") for option in group.options}
    assert {kind.title for kind in ATTACK_KINDS.values() if kind.unavailable is None} <= offered
    assert SOURCE not in offered
