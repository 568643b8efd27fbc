"""The files of a config drive, as bytes."""

from __future__ import annotations

from vmp.document import to_json, to_yaml
from vmp.nodes import Plain
from vmp.provisioners.v1alpha1.plan import Drive

CLOUD_CONFIG = ("user-data", "vendor-data")
"""cloud-init's documents that begin with a line which says so, where the registry has them as a mapping."""

_AS_JSON = (".json", ".ign")


def drive_files(drive: Drive) -> dict[str, bytes]:
    """Return the files by their paths on the drive."""
    return {name: _content(drive, name, content) for name, content in drive.files.items()}


def _content(drive: Drive, name: str, content: Plain) -> bytes:
    """Return a string byte for byte, a mapping as JSON or YAML; cloud-init's drive is written as its seed is."""
    if isinstance(content, str):
        return content.encode()
    if name.endswith(_AS_JSON):
        return to_json(content).encode()
    header = "#cloud-config\n" if drive.label.lower() == "cidata" and name in CLOUD_CONFIG else ""
    return (header + to_yaml(content)).encode()
