"""Sign-in by OpenID Connect in a real browser, against a provider of our own: who comes in, as what, under which name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from ledger_records import make_audit, scored
from openid_provider import CLIENT_ID, OpenIdProvider
from streamlit.testing.v1 import AppTest
from test_journeys import Server, _select_row, environment, free_port, page  # noqa: F401 - fixtures

from core.errors import CoreError
from core.roles import NEEDED, ROLES, may, role_of
from core.store.store import Store
from core.store.triage import entry_detail

ASSIGNED = {"admin": ["Ann@example.org"], "analyst": ["ben@example.org"]}


@pytest.mark.parametrize(
    ("email", "role"), [("ann@EXAMPLE.org", "admin"), ("ben@example.org", "analyst"), ("eve@example.org", "viewer"), ("", "viewer")]
)
def test_roles_by_address(email: str, role: str) -> None:
    assert role_of([email, "sub-1"], ASSIGNED) == role


def test_everybody_and_the_highest_role() -> None:
    assert role_of(["eve@example.org"], {"analyst": ["*"]}) == "analyst"
    assert role_of(["ann@example.org"], ASSIGNED | {"viewer": ["ann@example.org"]}) == "admin"
    assert [[role for role in ROLES if may(role, action)] for action in ("look", "review", "install")] == [
        ["viewer", "analyst", "admin"],
        ["analyst", "admin"],
        ["admin"],
    ]
    assert set(NEEDED.values()) == set(ROLES)
    assert role_of(["sub-1"], {"admin": ["SUB-1"]}) == "admin"
    assert role_of([], ASSIGNED) == "viewer"


@pytest.mark.parametrize("wrong", [{"boss": ["a@b"]}, {"admin": "ann@example.org"}, {"admin": [1]}])
def test_a_slip_in_the_roles_is_told(wrong: dict) -> None:
    with pytest.raises(CoreError, match=r"secrets.toml, \[roles\]"):
        role_of(["ann@example.org"], wrong)


@pytest.mark.parametrize(("secrets", "words"), [("[auth", "nobody gets in"), ('[auth]\nx = "y"\n', "people who have signed in")])
def test_a_slip_in_the_file_lets_nobody_in(secrets: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secrets.toml"
    path.write_text(secrets)
    monkeypatch.setattr("streamlit.runtime.secrets.secrets_singleton._secrets", None)
    before = st.get_option("secrets.files")
    st._config.set_option("secrets.files", [str(path)])
    try:
        page = AppTest.from_file(str(Path(__file__).parents[1] / "Home.py"), default_timeout=60).run()
    finally:
        st._config.set_option("secrets.files", before)
    assert words in "".join(shown.value for shown in [*page.error, *page.info])
    assert not page.file_uploader
    assert not page.title


@pytest.fixture
def provider() -> Iterator[OpenIdProvider]:
    running = OpenIdProvider({"name": "Ben <b>B</b>", "email": "ben@example.org", "email_verified": True})
    yield running
    running.close()


@pytest.fixture
def guarded(provider: OpenIdProvider, environment: dict[str, str], tmp_path: Path) -> Iterator[Server]:  # noqa: F811
    port = free_port()
    (tmp_path / ".streamlit").mkdir()
    (tmp_path / ".streamlit" / "secrets.toml").write_text(
        f"""[auth]
redirect_uri = "http://localhost:{port}/oauth2callback"
cookie_secret = "a secret of the tests, long enough for its purpose"
client_id = "{CLIENT_ID}"
client_secret = "x"
server_metadata_url = "{provider.url}/.well-known/openid-configuration"
[roles]
analyst = ["ben@example.org"]
"""
    )
    running = Server(environment | {"HOME": str(tmp_path)}, port=port)
    yield running
    running.kill()
    assert not running.complaints()


@pytest.mark.browser
def test_nobody_gets_in_without_signing_in_and_reviews_carry_the_name(
    guarded: Server,
    page,  # noqa: F811
    provider: OpenIdProvider,
    store: Store,
) -> None:
    from playwright.sync_api import expect

    audit_id, ids = make_audit(store, [scored("a.wav", 2.0)])
    page.goto(f"{guarded.url}/Batch_audit?audit={audit_id}")
    page.get_by_text("for people who have signed in").wait_for()
    assert page.get_by_text("a.wav").count() == page.get_by_text(f"Audit {audit_id}").count() == 0
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text("Ben <b>B</b> (analyst)").wait_for()
    page.goto(f"{guarded.url}/Batch_audit?audit={audit_id}&entry={ids['a.wav']}")
    page.get_by_text("Your verdict").wait_for()
    field = page.locator("form, [data-testid=stForm]").filter(has_text="Your verdict").get_by_label("Your name")
    expect(field).to_have_value("Ben <b>B</b>")
    expect(field).to_be_disabled()
    page.get_by_role("button", name="Bona fide").last.click()  # the first one filters the table
    page.get_by_text("1 recording").first.wait_for()
    (review,) = entry_detail(store, ids["a.wav"]).reviews
    assert (review.reviewer, review.verdict) == ("Ben <b>B</b>", "bona fide")

    provider.person = {"name": "Eve", "email": "ben@example.org", "email_verified": False}
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text("Eve (viewer)").wait_for()
    page.goto(f"{guarded.url}/Batch_audit")
    page.get_by_text("may look and not do this").first.wait_for()
    assert page.get_by_role("button", name="Start the audit").count() == 0
    page.goto(f"{guarded.url}/Attack_lab")
    page.get_by_text("may look and not do this").first.wait_for()
    assert page.get_by_role("button", name="Make spoofs").count() == 0
