"""Knobs: what a user may set for one run, on make's command line or in the environment, or for good in the registry."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from .say import Problem


class Knob(NamedTuple):
    """One knob: seconds with their default, or a text."""

    name: str
    seconds: int | None
    meaning: str


KNOBS = (
    Knob("V1ALPHA1_IP_CMD", None, "a command that prints the address"),
    Knob("V1ALPHA1_SSH_USER", None, "who logs in"),
    Knob("V1ALPHA1_SSH_HOST", None, "the address, instead of looking for it"),
    Knob("V1ALPHA1_SSH_OPTS", None, "options of ssh, instead of those of the registry"),
    Knob("V1ALPHA1_SSH_EXTRA_OPTS", None, "options of ssh, before all others"),
    Knob("V1ALPHA1_COMMAND_TIMEOUT_SECS", 600, "how long virsh and the like may take; 0: for ever"),
    Knob("V1ALPHA1_STOP_TIMEOUT_SECS", 60, "how long stop waits before it pulls the plug"),
    Knob("V1ALPHA1_INSTALL_TIMEOUT_SECS", 7200, "how long up and install wait for the end of an installation"),
    Knob("V1ALPHA1_WAIT_FOR_READY_INTERVAL_SECS", 3, "the pause between two looks"),
    Knob("V1ALPHA1_WAIT_FOR_READY_SSH_CONNECT_TIMEOUT_SECS", 3, "how long one connection may take"),
    Knob("V1ALPHA1_WAIT_FOR_READY_TIMEOUT_SECS", 600, "how long wait-for-ready waits"),
)
"""All knobs. The Makefile, the help, the reference page and the compiler's checks read them from here."""

COMMAND = "CMD"
"""The make variable with the command of `ssh` and `exec`."""

SNAPSHOT_NAME = "NAME"
SNAPSHOT_DESCRIPTION = "DESCRIPTION"
"""The make variables of the targets for snapshots. With make they count on the command line alone."""


class Knobs:
    """The values of one run."""

    def __init__(self, registry: Mapping[str, str]) -> None:
        found = {knob.name: os.environ.get(knob.name, registry.get(knob.name, "")) for knob in KNOBS}
        seconds = {knob.name: _seconds(knob, found[knob.name]) for knob in KNOBS if knob.seconds is not None}
        self.ip_cmd = found["V1ALPHA1_IP_CMD"]
        self.ssh_user = found["V1ALPHA1_SSH_USER"]
        self.ssh_host = found["V1ALPHA1_SSH_HOST"]
        self.ssh_opts = found["V1ALPHA1_SSH_OPTS"]
        self.ssh_extra_opts = found["V1ALPHA1_SSH_EXTRA_OPTS"]
        self.command_timeout = seconds["V1ALPHA1_COMMAND_TIMEOUT_SECS"]
        self.stop_timeout = seconds["V1ALPHA1_STOP_TIMEOUT_SECS"]
        self.install_timeout = seconds["V1ALPHA1_INSTALL_TIMEOUT_SECS"]
        self.interval = seconds["V1ALPHA1_WAIT_FOR_READY_INTERVAL_SECS"]
        self.connect_timeout = seconds["V1ALPHA1_WAIT_FOR_READY_SSH_CONNECT_TIMEOUT_SECS"]
        self.ready_timeout = seconds["V1ALPHA1_WAIT_FOR_READY_TIMEOUT_SECS"]
        self.texts = {knob.name: found[knob.name] for knob in KNOBS if knob.seconds is None}


def _seconds(knob: Knob, text: str) -> int:
    if not text:
        return knob.seconds or 0
    if not re.fullmatch("0|[1-9][0-9]{0,7}", text):
        raise Problem(f"{knob.name} is '{text}', not a whole number of seconds")
    return int(text)


FORCE = "FORCE"
"""The make variable that lets `apply` undo what was changed by hand, and `install` take for installed what is there."""


def is_forced() -> bool:
    """Tell whether FORCE=yes is given."""
    force = os.environ.get(FORCE, "")
    if force not in ("", "yes", "no"):
        raise Problem(f"{FORCE} is '{force}', neither yes nor no")
    return force == "yes"
