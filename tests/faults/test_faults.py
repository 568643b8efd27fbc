"""The most dangerous faults of the matrix, and that the bench sees what it is there to see."""

from __future__ import annotations

import pytest

from faults.model import Fault
from faults.trial import Bench

DANGEROUS = [
    # a download and what is unpacked from it must not be taken for whole
    Fault("up", "curl", 2, "kill-during"),
    Fault("up", "gzip", 1, "kill-during"),
    Fault("up", "gzip", 1, "fail-after"),
    # nor a seed
    Fault("up", "genisoimage", 1, "kill-during"),
    # nor a drive, nor a member of an ISO image
    Fault("up-media", "genisoimage", 2, "kill-during"),
    Fault("up-media", "xorriso", 1, "kill-after"),
    Fault("up-media", "xorriso", 2, "kill-during"),
    Fault("up-media", "xorriso", 2, "kill-after"),
    Fault("up-media", "xorriso", 2, "fail-after"),
    Fault("up-media", "virsh vol-upload", 3, "kill-during"),
    # a volume, whichever it is and however much of it came
    Fault("up", "virsh pool-define", 1, "kill-after"),
    Fault("up", "virsh vol-create", 1, "kill-after"),
    Fault("up", "virsh vol-create", 2, "lost-after"),
    Fault("up", "virsh vol-upload", 1, "kill-during"),
    Fault("up", "virsh vol-upload", 1, "kill-at-end"),
    Fault("up", "virsh vol-upload", 2, "kill-during"),
    Fault("up", "virsh vol-upload", 1, "fail-before"),
    Fault("up", "virsh vol-upload", 1, "daemon-during"),
    # a question without an answer is no answer
    Fault("up", "virsh list", 1, "fail-before"),
    Fault("up", "virsh pool-list", 1, "lost-after"),
    Fault("up", "virsh vol-list", 1, "fail-before"),
    Fault("up-again", "virsh vol-dumpxml", 1, "lost-after"),
    Fault("down", "virsh dumpxml", 1, "lost-after"),
    Fault("up", "virsh", 1, "hang-before"),
    # the domain
    Fault("up", "virt-install", 1, "kill-during"),
    Fault("up", "virsh define", 1, "kill-after"),
    Fault("up", "virsh start", 1, "lost-after"),
    # networks and reservations
    Fault("create-network", "virsh net-define", 1, "kill-after"),
    Fault("create-network", "virsh net-autostart", 1, "lost-after"),
    Fault("create-network", "virsh net-start", 1, "fail-before"),
    Fault("create-network", "virsh net-start", 1, "lost-after"),
    Fault("create-network", "virsh net-list", 2, "fail-before"),
    Fault("create-reservation", "virsh net-update", 1, "kill-after"),
    Fault("create-reservation", "virsh net-update", 1, "lost-after"),
    Fault("create-reservation", "virsh define", 1, "kill-after"),
    Fault("create-hosts", "virsh net-update", 1, "kill-after"),
    Fault("create-hosts", "virsh net-update", 2, "kill-during"),
    Fault("create-hosts", "virsh net-update", 3, "kill-after"),
    Fault("create-hosts", "virsh net-update", 4, "lost-after"),
    Fault("create-hosts", "virsh net-dumpxml", 1, "lost-after"),
    Fault("delete-network", "virsh net-update", 1, "lost-after"),
    Fault("delete-network", "virsh net-destroy", 1, "fail-before"),
    Fault("delete-network", "virsh net-destroy", 1, "kill-after"),
    Fault("delete-network", "virsh net-undefine", 1, "lost-after"),
    # a change, off and while the guest runs
    Fault("apply", "virsh vol-delete", 1, "kill-after"),
    Fault("apply", "virsh define", 1, "kill-after"),
    Fault("apply", "virsh metadata", 1, "kill-after"),
    Fault("apply", "virsh attach-device", 1, "lost-after"),
    Fault("apply-off", "virsh autostart", 1, "kill-after"),
    Fault("apply-off", "virsh define", 1, "lost-after"),
    # what other VMs use stays
    Fault("down", "virsh destroy", 1, "lost-after"),
    Fault("down", "virsh undefine", 1, "kill-after"),
    Fault("down", "virsh vol-delete", 1, "kill-after"),
    Fault("delete-all-shared", "virsh vol-list", 1, "fail-before"),
    Fault("delete-all-shared", "virsh dumpxml", 1, "fail-before"),
    Fault("delete-all-shared", "virsh vol-dumpxml", 2, "fail-before"),
    Fault("delete-all-shared", "virsh pool-destroy", 1, "kill-after"),
    Fault("delete-all-shared", "virsh pool-delete", 1, "lost-after"),
]


@pytest.mark.lab
@pytest.mark.parametrize("fault", DANGEROUS, ids=str)
def test_the_next_run_mends(bench: Bench, fault: Fault) -> None:
    assert not bench.try_(fault)


@pytest.mark.lab
def test_a_fault_that_does_not_happen_was_not_survived(bench: Bench) -> None:
    (complaint,) = bench.try_(Fault("delete-all-shared", "virsh", 99, "kill-before"))
    assert "did not happen" in complaint


@pytest.mark.lab
def test_what_a_run_leaves_over_is_seen(bench: Bench) -> None:
    fault = Fault("delete-all-shared", "virsh", 1, "kill-before")
    assert not bench.try_(fault)
    stray = bench.stage.base / "vm" / "create-1.part"
    stray.touch()
    complaints = bench.try_(fault)
    stray.unlink()
    assert complaints and all("create-1.part" in complaint for complaint in complaints)
