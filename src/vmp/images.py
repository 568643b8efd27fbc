"""``NAME:TAG`` to an image: where it is downloaded from and what it is called as a volume."""

from __future__ import annotations

import re
from collections.abc import Mapping as MappingType
from dataclasses import dataclass

from vmp.diagnostics import Report
from vmp.expand import Scope, expand
from vmp.nodes import Entry, Mapping, Node, Scalar, Sequence
from vmp.schema import TAG, Archive, Checksum, Tag
from vmp.shapes import Decoding
from vmp.texts import check_pattern

_HASH_LENGTHS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}


@dataclass(frozen=True, kw_only=True)
class Image:
    """One version of an image, all of its fields expanded."""

    name: str
    tag: str
    url: str
    volume_name: str
    format: str
    archive: Archive | None
    checksum: Checksum | None


@dataclass(frozen=True, kw_only=True)
class FoundImage:
    """An image and the variables that it brings, the tag's winning over the image's."""

    image: Image
    variables: dict[str, Scalar]
    keys: Scalar | None = None
    """What `signature.keys` says, with its place: the path is relative to that file."""


class Images:
    """The images of a registry; each reference is resolved once."""

    def __init__(self, entries: dict[str, Mapping], report: Report) -> None:
        self.entries = entries
        self._report = report
        self._decoding = Decoding(report)
        self._found: dict[str, FoundImage] = {}

    def find(self, reference: str, user: Node | None) -> FoundImage | None:
        """Return the image of ``NAME[:TAG]``; ``user`` is where the reference stands."""
        if reference in self._found:
            return self._found[reference]
        name, _, tag = reference.partition(":")
        tag = tag or "latest"
        span = user.span if user else None
        entry = self.entries.get(name)
        if entry is None:
            self._report.error(
                "unknown-image", f"unknown image {name!r}", span, help=self._report.nearest(name, self.entries)
            )
            return None
        tags = entry.get("tags")
        patterns = []
        for node in tags.items if isinstance(tags, Sequence) else ():
            pattern = node.get("pattern") if isinstance(node, Mapping) else None
            if not isinstance(node, Mapping) or not isinstance(pattern, Scalar):
                return None  # decoding the registry has reported it
            patterns.append(pattern.text)
            try:
                match = re.fullmatch(pattern.text, tag)
            except (re.error, OverflowError, RecursionError):
                return None
            if match:
                found = self._resolve(name, tag, entry, node, match.groupdict())
                if found:
                    self._found[reference] = found
                return found
        help_ = (
            "the patterns are: " + "  ".join([*patterns[:10], *(["…"] if len(patterns) > 10 else [])])
            if patterns
            else "the image has no tags"
        )
        self._report.error("no-tag-matches", f"no tag of image {name!r} matches {tag!r}", span, help=help_)
        return None

    def check(self) -> None:
        """Report what is wrong with an image whatever version of it is asked for."""
        for entry in self.entries.values():
            tags = entry.get("tags")
            for tag in tags.items if isinstance(tags, Sequence) else ():
                pattern = tag.get("pattern") if isinstance(tag, Mapping) else None
                if not isinstance(tag, Mapping) or not isinstance(pattern, Scalar):
                    continue
                wrong = check_pattern(pattern.text)
                if wrong is None:
                    _expand_tag(tag, entry, dict.fromkeys(re.compile(pattern.text).groupindex, ""), self._report)
                    self._check_checksum(tag)
                elif not pattern.plain:  # decoding takes braces for variables, which a pattern has none of
                    self._report.error("bad-pattern", wrong[0], pattern.span, help=wrong[1])

    def _resolve(
        self, name: str, tag: str, entry: Mapping, node: Mapping, groups: dict[str, str | None]
    ) -> FoundImage | None:
        calls = self._report.calls
        expanded = _expand_tag(node, entry, groups, self._report)
        decoded: Tag = TAG.decode(expanded, ("tags", "[]"), self._decoding)
        self._check_checksum(expanded)
        if self._report.calls > calls:
            return None
        image = Image(
            name=name,
            tag=tag,
            url=decoded.url,
            volume_name=decoded.volume_name,
            format=decoded.format,
            archive=decoded.archive,
            checksum=decoded.checksum,
        )
        checksum = expanded.get("checksum")
        signature = checksum.get("signature") if isinstance(checksum, Mapping) else None
        keys = signature.get("keys") if isinstance(signature, Mapping) else None
        variables = {**variables_of(entry), **variables_of(node)}
        return FoundImage(image=image, variables=variables, keys=keys if isinstance(keys, Scalar) else None)

    def _check_checksum(self, tag: Mapping) -> None:
        checksum = tag.get("checksum")
        if not isinstance(checksum, Mapping):
            return
        value, algorithm = checksum.get("value"), checksum.get("algorithm")
        name = algorithm.text if isinstance(algorithm, Scalar) else "sha256"
        length = _HASH_LENGTHS.get(name)
        if length is None or not isinstance(value, Scalar) or not value.plain:
            return
        if not re.fullmatch(f"[0-9a-fA-F]{{{length}}}", value.text):
            message = f"{value.text!r} is not a {name} hash"
            self._report.error("bad-value", message, value.span, help=f"{length} hexadecimal digits")


def _expand_tag(tag: Mapping, image: Mapping, groups: MappingType[str, str | None], report: Report) -> Mapping:
    """Return the tag with the groups of its match, its own ``vars`` and its image's filled in."""
    scope = Scope({**variables_of(image), **variables_of(tag), **groups}, report)
    kept = ("pattern", "vars")
    entries = {
        key: item if key in kept else Entry(item.key, expand(item.value, scope)) for key, item in tag.entries.items()
    }
    return Mapping(entries, tag.span)


def variables_of(node: Mapping) -> dict[str, Scalar]:
    """Return the ``vars`` of a node, image, tag or VM, as far as they are texts; null unsets."""
    found = node.get("vars")
    if not isinstance(found, Mapping):
        return {}
    return {
        name: entry.value
        for name, entry in found.entries.items()
        if isinstance(entry.value, Scalar) and entry.value.kind != "null"
    }
