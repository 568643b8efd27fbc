"""libvirtd dies and comes back while a guest is asked to stop. (Its deaths during `up` are faults of the matrix.)"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from world import ENVIRONMENT, start_libvirtd, virsh

from faults.scenes import Stage

pytestmark = pytest.mark.lab


def end_libvirtd() -> None:
    os.kill(int(Path("/run/libvirtd.pid").read_text()), signal.SIGKILL)


def test_a_stop_whose_libvirtd_dies_says_so_and_can_be_repeated(stage: Stage) -> None:
    vm = stage.fresh()["vm"]
    vm.make("up")
    stop = subprocess.Popen(
        vm.command("stop", "V1ALPHA1_STOP_TIMEOUT_SECS=60"),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        env=ENVIRONMENT,
    )
    assert stop.stderr
    assert "asking the guest" in stop.stderr.readline()
    time.sleep(1.5)
    end_libvirtd()
    try:
        said = stop.communicate(timeout=20)[1]
    finally:
        start_libvirtd()
    assert stop.returncode != 0
    assert "vm: error: " in said and "libvirt" in said
    assert virsh("domstate", "vm").strip() == "running"
    assert "stopped domain vm" in vm.make("stop", "V1ALPHA1_STOP_TIMEOUT_SECS=1").stderr
    vm.make("delete-all")
