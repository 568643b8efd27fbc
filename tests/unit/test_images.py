"""``NAME:TAG`` to an image, rule by rule."""

from __future__ import annotations

import pytest
from reading import codes, mapping

from vmp.diagnostics import Report
from vmp.images import FoundImage, Images
from vmp.nodes import Mapping

_TAGS = """
debian:
  vars: {MIRROR: "https://{HOST}", HOST: example.org, WHO: image}
  tags:
    - {pattern: '\\d+', url: 'number', volumeName: number}
    - pattern: (?P<major>\\d+)\\.(?P<minor>\\d+)(-(?P<build>\\d+))?
      url: "{MIRROR}/{major}.{minor}.7z"
      volumeName: "{WHO}-{major}-{minor}"
      format: raw
      vars: {WHO: tag}
      archive: {type: 7z, path: "{major}/disk"}
      checksum: {url: "{MIRROR}/{major}/SUMS"}
    - {pattern: latest, url: latest, volumeName: latest}
    - {pattern: 'a|ab', url: alternatives, volumeName: x}
    - {pattern: 'x:y', url: colon, volumeName: x}
    - {pattern: '(?P<v>bad)?.*z', url: "{v}", volumeName: x}
"""


def _images(text: str, report: Report) -> Images:
    entries = {name: entry.value for name, entry in mapping(text).entries.items()}
    return Images({name: value for name, value in entries.items() if isinstance(value, Mapping)}, report)


def _find(reference: str) -> FoundImage:
    report = Report()
    found = _images(_TAGS, report).find(reference, None)
    assert found is not None and not report, report.diagnostics
    return found


@pytest.mark.parametrize(
    ("reference", "url"),
    [
        ("debian:12", "number"),
        ("debian", "latest"),
        ("debian:latest", "latest"),
        ("debian:ab", "alternatives"),
        ("debian:x:y", "colon"),
        ("debian:12.5", "https://example.org/12.5.7z"),
    ],
)
def test_the_first_tag_whose_pattern_matches_the_whole_tag_wins(reference: str, url: str) -> None:
    assert _find(reference).image.url == url


def test_groups_and_vars_fill_every_field_and_the_tag_wins_over_the_image() -> None:
    image = _find("debian:12.5").image
    assert image.volume_name == "tag-12-5"
    assert image.archive is not None and image.archive.path == "12/disk"
    assert image.checksum is not None and image.checksum.url == "https://example.org/12/SUMS"
    assert (image.format, image.checksum.algorithm, image.tag) == ("raw", "sha256", "12.5")


def test_the_format_is_qcow2_when_left_out() -> None:
    assert _find("debian:12").image.format == "qcow2"


def test_the_variables_that_an_image_brings_are_those_of_image_and_tag() -> None:
    assert {name: node.text for name, node in _find("debian:12.5").variables.items()} == {
        "MIRROR": "https://{HOST}",
        "HOST": "example.org",
        "WHO": "tag",
    }


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ("debain:12", "unknown-image"),
        ("", "unknown-image"),
        (":12", "unknown-image"),
        ("debian:12.", "no-tag-matches"),
        ("debian:abc", "no-tag-matches"),
        ("debian:12\n", "no-tag-matches"),
        ("debian: 12", "no-tag-matches"),
        ("debian:z", "unset-group"),
    ],
)
def test_a_reference_that_leads_nowhere_is_an_error(reference: str, code: str) -> None:
    report = Report()
    assert _images(_TAGS, report).find(reference, None) is None
    assert codes(report) == [code]


def test_no_matching_tag_lists_the_patterns_and_an_unknown_image_the_nearest() -> None:
    report = Report()
    images = _images(
        "{disk: {tags: [{pattern: one, url: u, volumeName: v}, {pattern: two, url: u, volumeName: v}]}}", report
    )
    images.find("disk:three", None)
    images.find("dsik", None)
    helps = [diagnostic.help or "" for diagnostic in report.diagnostics]
    assert any("one" in text and "two" in text for text in helps)
    assert "did you mean 'disk'?" in helps


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("{pattern: '(?P<a>x)', url: '{b}', volumeName: v}", ["unknown-variable"]),
        ("{pattern: '(?P<a>x)', url: '{a}', volumeName: '{'}", ["variable-syntax"]),
        ("{pattern: x, url: u, volumeName: v, checksum: {value: 12}}", ["bad-value"]),
        ("{pattern: x, url: u, volumeName: v, checksum: {algorithm: md5, value: " + "0" * 64 + "}}", ["bad-value"]),
        ("{pattern: x, url: u, volumeName: v, checksum: {value: " + "aB" * 32 + "}}", []),
        ("{pattern: x, url: u, volumeName: v, checksum: {algorithm: sha1, value: " + "00" * 20 + "}}", []),
        ("{pattern: '(?P<sum>.*)', url: u, volumeName: v, checksum: {value: '{sum}'}}", []),
    ],
)
def test_an_image_is_judged_whatever_tag_is_asked_for(tag: str, expected: list[str]) -> None:
    report = Report()
    _images(f"disk: {{tags: [{tag}]}}", report).check()
    assert codes(report) == expected


def test_a_checksum_from_a_group_is_judged_when_it_is_known() -> None:
    report = Report()
    images = _images(
        "{disk: {tags: [{pattern: '(?P<s>.*)', url: u, volumeName: v, checksum: {value: '{s}'}}]}}", report
    )
    assert images.find(f"disk:{'0' * 64}", None) is not None
    assert images.find("disk:12", None) is None
    assert codes(report) == ["bad-value"]
