"""What differs in the seed and the config drives, told from two texts of `seed_sum`."""

from __future__ import annotations

from collections.abc import Iterator

from .definition import sums_of_drives

_DOCUMENT_NAMES = {"meta": "meta-data", "user": "user-data", "vendor": "vendor-data", "network": "network-config"}


def changed_documents(old: str, new: str) -> list[str]:
    """Return the names of documents of the seed whose sums differ."""
    before, now = _sums_of_documents(old), _sums_of_documents(new)
    return [name for key, name in _DOCUMENT_NAMES.items() if before.get(key) != now.get(key)]


def _sums_of_documents(text: str) -> dict[str, str]:
    return {word.partition("-")[0]: word for word in text.split(".")}


def changed_drives(old: str, new: str) -> list[str]:
    """Return the paths of the config drives that differ, also those that are in one of both alone."""
    before, now = sums_of_drives(old), sums_of_drives(new)
    return [path for path in {**before, **now} if before.get(path) != now.get(path)]


def lines_of_seed(old: str, new: str) -> Iterator[str]:
    """Yield in words what differs in the seed and in the config drives, a line for each."""
    documents = changed_documents(old, new)
    if documents:
        yield f"seed: {', '.join(documents)} changed"
    before, now = sums_of_drives(old), sums_of_drives(new)
    for path in changed_drives(old, new):
        what = ", ".join(_words_of_drive(before.get(path), now.get(path)))
        yield f"config drive {path}: {what}"


def _words_of_drive(before: dict[str, str] | None, now: dict[str, str] | None) -> Iterator[str]:
    if before is None or now is None:
        yield "added" if before is None else "has left the definition"
        return
    for name in {**before, **now}:
        if before.get(name) == now.get(name):
            continue
        word = "added" if name not in before else "removed" if name not in now else "changed"
        yield f"{name or 'the label'} {word}"
