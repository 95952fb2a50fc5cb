"""`python -m bimacosr` is the command `bimacosr`."""

from bimacosr.cli import main

if __name__ == "__main__":
    main(prog_name="bimacosr")
