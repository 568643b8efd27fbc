"""The provisioners by the name that a registry gives. Versions never import each other."""

from __future__ import annotations

from typing import Protocol

from vmp.configuration import Configuration
from vmp.diagnostics import Report
from vmp.nodes import Mapping
from vmp.provisioners import v1alpha1
from vmp.tree import Tree


class Provisioner(Protocol):
    """What a version of the generated directory's format has to offer."""

    def check(self, configuration: Configuration, vm: Mapping, report: Report) -> None:
        """Report what this version cannot do; ``vm`` has the places of the values."""

    def render(self, configuration: Configuration) -> Tree:
        """Return the directory. Called only for what :meth:`check` found nothing wrong with."""


PROVISIONERS: dict[str, Provisioner] = {"v1alpha1": v1alpha1}
