"""Who may do what in a dashboard with sign-in. Knows no passwords and no sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from core.errors import CoreError

Role = Literal["viewer", "analyst", "admin"]
ROLES: tuple[Role, ...] = ("viewer", "analyst", "admin")
"""Each may do what those before it may."""
Action = Literal["look", "audit", "review", "bundle", "make", "install"]
NEEDED: dict[Action, Role] = {
    "look": "viewer",
    "audit": "analyst",
    "review": "analyst",
    "bundle": "analyst",
    "make": "analyst",
    "install": "admin",
}
"""What each action takes: look at results; start, pause and cancel audits; review; make case bundles; make attacks, maps and
imported scores; install detectors."""
EVERYBODY = "*"
"""In place of an address: all who can sign in."""


def may(role: Role, action: Action) -> bool:
    """Whether a role may do something."""
    return ROLES.index(role) >= ROLES.index(NEEDED[action])


def role_of(identities: Sequence[str], assigned: Mapping[str, Sequence[str]]) -> Role:
    """The highest role of somebody; viewer where they are named nowhere.

    Args:
        identities: address and identifier, as the provider of the sign-in vouches for them; upper and lower case are the same.
        assigned: role -> identities, or `EVERYBODY`.

    Raises:
        CoreError: a role that does not exist, or addresses that are no list.
    """
    for role, addresses in assigned.items():
        if role not in ROLES or isinstance(addresses, str) or not all(isinstance(address, str) for address in addresses):
            wanted = f"lists of addresses under {', '.join(ROLES)}"
            raise CoreError(f"secrets.toml, [roles]: expected {wanted}; got {role} = {addresses!r}.")
    named = {role: {address.casefold() for address in assigned.get(role, ())} for role in ROLES}
    held = [role for role in ROLES if named[role] & {EVERYBODY, *map(str.casefold, identities)}]
    return held[-1] if held else "viewer"
