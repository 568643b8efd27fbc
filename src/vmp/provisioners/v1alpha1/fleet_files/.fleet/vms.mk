# Run by fleet.sh: a goal is a target and the number of a VM, as in up/3. No name of a VM is ever seen by make.

MAKEOVERRIDES :=

.PHONY: $(MAKECMDGOALS)
$(MAKECMDGOALS):
	+@exec sh .fleet/fleet.sh one $@ $(MAKE)
