"""`python -m eir` is the `eir` command."""

from eir.cli import main

if __name__ == "__main__":
    main(prog_name="eir")
