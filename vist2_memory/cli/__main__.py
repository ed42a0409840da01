"""``python -m vist2_memory.cli``."""

from vist2_memory.cli import main

main()
