# Run by fleet.sh: a goal is a target and the number of a VM, as in up/3. No name of a VM is ever seen by make.

MAKEOVERRIDES :=

goals := $(filter-out failed tidy,$(MAKECMDGOALS))

.PHONY: $(MAKECMDGOALS)
$(goals):
	+@exec sh .fleet/fleet.sh one $@ $(MAKE)

# After the others: something went wrong before any of them was begun, and was said.
failed: $(goals)
	@exit 1

# After all have succeeded; else the next run sees to it.
tidy: $(goals)
	@rm -rf "$${VMP_ALIKE:?}"
