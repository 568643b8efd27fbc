"""Options of virt-install that a domain was made with, beside those of the directory, and what differs in words."""

from __future__ import annotations

import shlex
from typing import NamedTuple

from .records import DomainFacts

_WHOLE = frozenset("arch cdrom description extra-args initrd-inject machine qemu-commandline uuid virt-type".split())
"""Options whose value virt-install does not split at commas."""

_FIRMWARE = ("uefi", "firmware", "loader", "nvram")
"""The suboptions of `--boot` that choose the firmware."""

MEDIUM = frozenset(["vol", "path", "source.file", "source.volume", "source.pool", "source_volume", "source_pool"])
"""The suboptions of `--disk` that say what is in it."""


class Use(NamedTuple):
    """One use of an option."""

    option: str
    name: str
    """What the registry calls it in a list: `data` of the disks; else ''."""


class OptionChange(NamedTuple):
    """An option that was added, removed or changed."""

    use: Use
    before: str | None
    now: str | None

    @property
    def title(self) -> str:
        """Return what the option is about: `memory`, `disk data`."""
        return f"{self.use.option} {self.use.name}".rstrip()

    @property
    def differing(self) -> frozenset[str]:
        """Return the suboptions that differ; '' is the value that has no name of its own."""
        return frozenset([key for key, _, _ in _pairs(self)])

    def words(self) -> list[str]:
        """Return a line for each thing that differs."""
        if self.use.name and (self.before is None or self.now is None):
            return [f"{self.title}: {'added' if self.before is None else 'removed'}"]
        return [f"{self.title} {key} {old} → {new}".replace("  ", " ") for key, old, new in _pairs(self)]


def uses_of(domain: DomainFacts) -> dict[Use, str]:
    """Return the options by what they are called; what the registry repeats without names is counted."""
    found: dict[Use, str] = {}
    for number, word in enumerate(domain.virt_install):
        option, _, value = word.removeprefix("--").partition("=")
        name = domain.item_names[number] if number < len(domain.item_names) else ""
        use, count = Use(option, name), 1
        while use in found:
            count += 1
            use = Use(option, f"{name} {count}".strip())
        found[use] = value
    return found


def option_changes(before: DomainFacts, now: DomainFacts) -> list[OptionChange]:
    """Return the options that differ, in the order of the registry, and then those that are gone.

    One that is only called otherwise, and says the same, does not differ.
    """
    old, new = uses_of(before), uses_of(now)
    for use, text in [*old.items()]:
        same = [other for other in new if other not in old and (other.option, new[other]) == (use.option, text)]
        if use not in new and same:
            del old[use], new[same[0]]
    found = [OptionChange(use, old.get(use), text) for use, text in new.items() if old.get(use) != text]
    found += [OptionChange(use, text, None) for use, text in old.items() if use not in new]
    return [change for change in found if change.use.option not in ("name", "uuid")]


def suboptions(use: Use, text: str) -> dict[str, str]:
    """Return the suboptions of an option, as virt-install reads them; '' for a first value without a name."""
    if use.option in _WHOLE or (use.option == "xml" and not text.startswith("xpath.")):
        return {"": text}
    found = {} if text else {"": "yes"}
    for number, (key, equals, value) in enumerate([part.partition("=") for part in _split(text)]):
        if equals:
            found[key] = value
        elif number == 0:
            found[""] = key
        else:
            found[key] = "yes"
    return found


def _split(text: str) -> list[str]:
    splitter = shlex.shlex(text, posix=True)
    splitter.commenters, splitter.whitespace, splitter.whitespace_split = "", ",", True
    try:
        return list(splitter)
    except ValueError:  # a quote is not closed: vmp has refused that, and somebody has edited vm.json
        return [text]


def _pairs(change: OptionChange) -> list[tuple[str, str, str]]:
    """Return each suboption that differs, with what it was and what it is, `-` for nothing."""
    old, new = [suboptions(change.use, text) if text is not None else {} for text in (change.before, change.now)]
    keys = [key for key in {**new, **old} if old.get(key) != new.get(key)]
    return [(key, old.get(key, "-"), new.get(key, "-")) for key in keys]


def firmware_of(domain: DomainFacts) -> dict[str, str]:
    """Return what the options say of the firmware, in whatever order: `uefi`, or a loader."""
    found = {}
    for use, text in uses_of(domain).items():
        values = suboptions(use, text) if use.option == "boot" else {}
        values = {(value if key == "" else key): value for key, value in values.items()}
        found.update({key: value for key, value in values.items() if key.partition(".")[0] in _FIRMWARE})
    return {key: "yes" if key == value else value for key, value in found.items()}
