"""``python -m gatehouse.cli``: the same as ``gatehouse``."""

from .main import main

main()
