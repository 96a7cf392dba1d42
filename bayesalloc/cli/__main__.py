"""`python -m bayesalloc.cli`."""

from bayesalloc.cli.main import main

main()
