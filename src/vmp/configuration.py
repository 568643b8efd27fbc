"""What one provisioner needs, every default decided: the value between the compiler and the provisioners."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vmp.diagnostics import Span
from vmp.images import Image
from vmp.schema import NodeEntry, VmEntry
from vmp.shapes import camel_case, plain_record


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Everything about one VM after resolution, merging, expansion and validation.

    ``own_variables`` names the variables that the VM itself sets (templates included): they win over a
    setting of the VM, while variables of its node and image do not. ``places`` is where variables were written.
    ``image_keys`` is what the file holds that the image's ``signature.keys`` names.
    """

    vm: VmEntry
    node: NodeEntry
    image: Image
    variables: dict[str, str]
    own_variables: frozenset[str]
    places: dict[str, Span]
    image_keys: bytes = b""

    def plain(self) -> dict[str, Any]:
        """Return the configuration as plain data, as ``vmp config`` prints it."""
        image = {camel_case(key): plain_record(value) for key, value in vars(self.image).items() if value is not None}
        return {
            "vars": dict(sorted(self.variables.items())),
            "image": image,
            "node": plain_record(self.node),
            "vm": plain_record(self.vm),
        }
