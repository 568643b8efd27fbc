"""The judges of what an ISO 9660 image with Rock Ridge and Joliet can carry: its label, and the names of its files.

genisoimage and xorriso cut off or leave out, without a word, what Joliet cannot have, and Windows reads Joliet alone.
Measured with genisoimage 1.1.11 and xorriso 1.5.4:

- A label of 33 characters is refused by both. Of one of 17 to 32, Joliet gets the first 16; Linux reads all.
- A name of more than 64 characters is cut off, so two may become one. `* : ; ? \\` become `_`.
- What is eight directories deep is left out of Joliet by genisoimage, and a path of more than 120 by xorriso.
- Other characters than those of ASCII depend on the locale, and one beyond 16 bits breaks genisoimage's Joliet.
"""

from __future__ import annotations

import re

from vmp.texts import Judgement

MAX_LABEL = 32
MAX_NAME = 64
MAX_PATH = 120
MAX_DEPTH = 8

_CHARACTERS = re.compile(r"[ !-~]+")
_FORBIDDEN = re.compile(r"[*:;?\\]")


def check_label(label: str) -> Judgement:
    """Judge the label of a drive, by which the guest finds it."""
    if not label:
        return "the label is empty", "the guest finds the drive by it, such as OEMDRV or cidata"
    if len(label) > MAX_LABEL:
        return f"the label {label[:80]!r} has {len(label)} characters", f"an ISO image takes {MAX_LABEL} at most"
    if not _CHARACTERS.fullmatch(label) or _FORBIDDEN.search(label) or "/" in label:
        return f"{label!r} cannot be the label of a drive", "characters of ASCII, without / * : ; ? and \\"
    if label != label.strip():
        return f"the label {label!r} begins or ends with a blank", "an ISO image fills labels up with blanks"
    return None


def check_drive_file(name: str) -> Judgement:
    """Judge the path of a file on a drive, from its root."""
    parts = name.split("/")
    shown = f"{name[:80]!r}{'…' * (len(name) > 80)}"
    if "" in parts or "." in parts or ".." in parts:
        return f"{shown} is not a path on the drive", "names joined by '/', such as combustion/script; no '.' or '..'"
    if not _CHARACTERS.fullmatch(name) or _FORBIDDEN.search(name):
        return f"{shown} cannot be a file of a drive", "characters of ASCII, without * : ; ? and \\"
    if len(longest := max(parts, key=len)) > MAX_NAME:
        message = f"{shown} has a name of {len(longest)} characters"
        return message, f"{MAX_NAME} at most between two slashes: Windows would see a part of it"
    if len(parts) > MAX_DEPTH or len(name) > MAX_PATH:
        help_ = f"{MAX_DEPTH - 1} directories and {MAX_PATH} characters at most: Windows would not see the file"
        return f"{shown} lies too deep", help_
    return None
