"""How an utterance in a table and a file, or two tables, are known to be the same: by name, whatever folder and ending it has."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import PurePath

_AUDIO = re.compile(
    r"\.(wave?|flac|mp[234]|m4[abv]|og[ga]|opus|spx|aac|wma|aif[fc]?|au|snd|caf|w64|rf64|sph|gsm|amr|awb|webm|mk[av]|mov|3g[p2]|ac3"
    r"|wv|ape|tta)$",
    re.IGNORECASE,
)


def utterance_of(path: str | os.PathLike[str]) -> str:
    """The utterance a file holds: its name without the ending."""
    return PurePath(path).stem


def bare_name(name: str) -> str:
    """A name in a table without folders and without an ending of audio."""
    return _AUDIO.sub("", name.replace("\\", "/").rpartition("/")[2])


def bare_names(names: Sequence[str]) -> list[str]:
    """Names in a table without folders and endings, where that leaves them apart; else as they are."""
    bare = [bare_name(name) for name in names]
    return bare if len(set(bare)) == len(set(names)) else list(names)


def find_name(path: str, known: Collection[str]) -> str | None:
    """Which of the known utterances a file is: by its path, else by as many of its last folders as are known, else by its name.

    Args:
        known: asked for membership; a set or a dictionary.
    """
    return next((spelling for spelling in _spellings(path) if spelling in known), None)


def match_names(names: Iterable[str], known: Sequence[str]) -> list[int]:
    """Where each name stands among the known ones, -1 for nowhere: as it stands, else by the end of its path, else without folder
    and ending on both sides, where that means one only.
    """
    places = {name: place for place, name in reversed(list(enumerate(known)))}
    of_bare: dict[str, int] = {}
    for place, name in enumerate(known):
        bare = bare_name(name)
        of_bare[bare] = -1 if bare in of_bare else place
    return [places[found] if (found := find_name(name, places)) else of_bare.get(bare_name(name), -1) for name in names]


def _spellings(path: str) -> Iterator[str]:
    parts = path.replace("\\", "/").split("/")
    for first in range(len(parts)):
        spelling = "/".join(parts[first:])
        yield spelling
        if (bare := _AUDIO.sub("", spelling)) != spelling:
            yield bare
    if (stem := utterance_of(parts[-1])) != parts[-1]:
        yield stem
