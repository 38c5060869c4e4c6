"""A verifier in headless Chromium: one noisy Opus clip, what is said of it, what would change it, what nobody can say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from test_journeys import Server, environment, page, server, settled  # noqa: F401 - fixtures

from core.checkpoints import detector_named
from core.detect import Scorer

pytestmark = pytest.mark.browser


def test_a_clip_from_a_messenger(server: Server, page, tmp_path: Path, speech_like) -> None:  # noqa: F811
    clip = tmp_path / "voice message.ogg"
    noise = 0.02 * np.random.default_rng(0).standard_normal(20 * 16_000)
    soundfile.write(clip, speech_like(20.0) + noise, 16_000, format="OGG", subtype="OPUS")
    expected = Scorer(detector_named()).score_file(clip).detections[0]

    page.goto(server.url)
    page.get_by_text("Nothing chosen yet").wait_for()
    settled(page)
    page.locator("input[type=file]").first.set_input_files(clip)
    page.get_by_role("paragraph").filter(has_text="Spoof score (nats)").wait_for()
    assert page.get_by_text(f"{expected.spoof_score:+.2f}", exact=True).is_visible()
    page.get_by_text("The file and its measurements").click()
    page.get_by_text("opus", exact=False).first.wait_for()
    page.get_by_role("link", name="Does the verdict survive a phone call?").click()
    page.wait_for_url("**/Stress_test?view=recording")
    page.get_by_text("As before: voice message.ogg").wait_for()  # nobody dropped it again
    page.get_by_text("Stressing:").or_(page.get_by_text("Survives a phone call")).first.wait_for()
    page.get_by_role("link", name="What detection cannot do").click()
    page.wait_for_url("**/Help?doc=limits")
    page.get_by_role("heading", name="A telephone line makes people look like spoofs").wait_for()
    page.get_by_role("link", name="Home").click()
    page.get_by_text(f"{expected.spoof_score:+.2f}", exact=True).wait_for()

    page.set_viewport_size({"width": 480, "height": 900})  # on a phone
    page.goto(f"{server.url}/Help?doc=terms")
    page.get_by_text("Equal error rate").wait_for()
    settled(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
