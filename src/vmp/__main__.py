"""Lets ``python -m vmp`` run the command."""

from vmp.cli import main

main()
