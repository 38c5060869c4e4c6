"""Optional sign-in by OpenID Connect, where `secrets.toml` has a section `[auth]`. Without it everybody is the one local user."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.errors import StreamlitSecretNotFoundError

from core.errors import CoreError
from core.hostile_text import visible as plain
from core.roles import Action, Role, may, role_of


def require_sign_in() -> None:
    """Ends the page with a button for whoever has not signed in; else says who it is, in the sidebar."""
    try:
        role = _role() if _is_configured() and st.user.is_logged_in else None
    except CoreError as error:  # nobody gets in by a slip in the file
        st.error(str(error), icon=":material/error:")
        st.stop()
    if role is not None:
        with st.sidebar:
            st.text(f"{plain(signed_in_name())} ({role})")
            st.button("Sign out", on_click=st.logout, key="sign-out")
    elif _is_configured():
        st.info("This dashboard is for people who have signed in.", icon=":material/lock:")
        st.button("Sign in", type="primary", on_click=st.login, key="sign-in")
        st.stop()


def signed_in_name() -> str | None:
    """The name of who signed in, as the provider gives it; None without sign-in."""
    return (st.user.get("name") or st.user.get("email") or st.user.get("sub")) if _is_configured() else None


def name_field(place: DeltaGenerator, label: str, *, key: str, value: str = "") -> str:
    """A field for the visitor's name; who signed in has the name of the sign-in, which cannot be written over."""
    if (name := signed_in_name()) is None:
        return place.text_input(label, value=value, key=key, max_chars=80)
    place.text_input(label, value=name, key=f"{key}-signed-in", disabled=True)
    return name  # and not what a browser may send


def allows(action: Action) -> bool:
    """Whether this visitor may do something; says so where not."""
    if not _is_configured() or may(_role(), action):
        return True
    st.caption(f":material/lock: Your role, {_role()}, may look and not do this; ask an administrator of this dashboard.")
    return False


def _role() -> Role:
    # An address that the provider did not verify could be anybody's; its identifier of the person is always its own word.
    email = [st.user["email"]] if st.user.get("email") and st.user.get("email_verified") is True else []
    return role_of([*email, *([st.user["sub"]] if st.user.get("sub") else [])], st.secrets.get("roles", {}))


def _is_configured() -> bool:
    try:
        return "auth" in st.secrets
    except StreamlitSecretNotFoundError as error:
        if found := [path for path in st.get_option("secrets.files") if Path(path).is_file()]:
            raise CoreError(f"{found[0]} cannot be read, so nobody gets in: {error}") from None
        return False
