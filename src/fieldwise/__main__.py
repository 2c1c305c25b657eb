"""``python -m fieldwise``: the command line."""

from fieldwise.cli import main

if __name__ == "__main__":
    main(prog_name="fieldwise")
