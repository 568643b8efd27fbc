"""vmp compiles a YAML registry of virtual machines into one provisioner directory per VM."""

__version__ = "0.1.0"
