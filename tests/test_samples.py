"""The shipped sample recordings, and the making of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from core.audio import EXTENSIONS, SAMPLE_RATE_HZ, load
from core.errors import AudioRefusal, CoreError
from core.names import utterance_of
from core.native_audio import probe
from core.protocols import read_protocol
from core.quality import QualityMeter
from training import samples
from training.samples import PROGRAMS, PROTOCOL_NAME, REFUSED_PATH, SAMPLES, griffin_lim, make_samples

SHIPPED = Path(__file__).parent.parent / "data" / "samples"
needs_engines = pytest.mark.skipif(
    any(shutil.which(program) is None for program in PROGRAMS.values()), reason="needs espeak-ng, flite and festival"
)


def recordings_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix in EXTENSIONS}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    make_samples(folder)
    return folder


def test_shipped_recordings_are_the_declared_ones() -> None:
    assert recordings_in(SHIPPED) == {sample.path for sample in SAMPLES} | {REFUSED_PATH}
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file()) < 1_500_000


@pytest.mark.parametrize("path", [sample.path for sample in SAMPLES])
def test_shipped_recording_can_be_judged(path: str) -> None:
    for channel in load(SHIPPED / path, channels="each"):
        meter = QualityMeter()
        meter.update(channel)
        meter.check()  # neither too short, nor silent, nor a steady sound
        quality = meter.result()
        assert 3.0 <= meter.duration_s <= 6.0
        assert quality.clipped_share == 0.0
        assert -6.0 < quality.peak_db < -0.5
        assert -30.0 < quality.level_db < -10.0


def test_shipped_text_file_is_refused() -> None:
    with pytest.raises(AudioRefusal) as refusal:
        load(SHIPPED / REFUSED_PATH)
    assert refusal.value.code == "undecodable"


def test_protocol_lists_exactly_the_spoofs() -> None:
    trials = read_protocol(SHIPPED / PROTOCOL_NAME)
    spoofs = recordings_in(SHIPPED) - {REFUSED_PATH}
    assert len(trials) == len(spoofs)
    assert set(trials) == {utterance_of(path) for path in spoofs}
    assert {trial.label for trial in trials.values()} == {"spoof"}
    assert {trial.attack for trial in trials.values()} == {"espeak-ng", "flite", "festival", "griffin-lim"}


def test_formats_differ() -> None:
    infos = {sample.path: probe(SHIPPED / sample.path) for sample in SAMPLES}
    assert {info.container for info in infos.values()} == {"FLAC", "WAV", "OGG", "MP3", "MP4"}
    assert {info.sample_rate_hz for info in infos.values()} == {8_000, 16_000, 22_050}
    telephone = infos["calls/call_telephone_voicemail.wav"]
    assert (telephone.codec, telephone.sample_rate_hz) == ("ULAW", 8_000)
    assert infos["calls/call_two-sided_help-desk.flac"].num_channels == 2


def test_sides_of_the_call_take_turns() -> None:
    left, right = load(SHIPPED / "calls/call_two-sided_help-desk.flac", channels="each")
    assert float((left * right).abs().max()) == 0.0


@needs_engines
def test_making_gives_the_shipped_names(made: Path) -> None:
    assert recordings_in(made) == recordings_in(SHIPPED)
    assert (made / PROTOCOL_NAME).read_text() == (SHIPPED / PROTOCOL_NAME).read_text()


@needs_engines
def test_making_again_gives_the_same_samples(made: Path, tmp_path: Path) -> None:
    # Decoded, not as bytes: an Ogg stream's serial number is random.
    for path in make_samples(tmp_path)[:-1]:
        assert torch.equal(load(path), load(made / path.relative_to(tmp_path))), path.name


@pytest.mark.parametrize("engine", PROGRAMS)
def test_missing_engine_says_how_to_install_it(engine: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: None if program == PROGRAMS[engine] else f"/usr/bin/{program}")
    with pytest.raises(CoreError, match=f"not found: {engine}.*apt-get install espeak-ng flite festival"):
        make_samples(tmp_path)
    assert not list(tmp_path.iterdir())


@needs_engines
@pytest.mark.parametrize("engine", PROGRAMS)
def test_unknown_voice_is_an_error(engine: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    side = samples.Side(engine, "nosuchvoice", "Good morning.")
    monkeypatch.setattr(samples, "SAMPLES", (samples.Sample(path="one.flac", sides=(side,)),))
    with pytest.raises(CoreError, match="nosuchvoice"):
        make_samples(tmp_path)


def test_griffin_lim_keeps_a_tone_and_the_global_seed() -> None:
    time = torch.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    tone = torch.sin(2 * torch.pi * 1_000 * time)
    state = torch.random.get_rng_state()
    result = griffin_lim(tone)
    assert torch.equal(state, torch.random.get_rng_state())
    assert result.shape == tone.shape
    # One second at 16 kHz: the bin number is the frequency in Hz.
    assert int(torch.fft.rfft(result).abs().argmax()) == 1_000
    assert torch.equal(result, griffin_lim(tone))
