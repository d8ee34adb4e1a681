"""``python -m stochastic_collapse`` is the `sc` command."""

from .cli import main

main()
