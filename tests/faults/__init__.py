"""A bench that breaks the provisioner at every command it runs, and wants the next run to mend it.

`make fault-matrix` tries all faults, `test_faults.py` the most dangerous. A trial: bring a scene to its beginning,
run its target with one fault, run the target again undisturbed, and compare all there is with what an undisturbed run
leaves.
"""
