"""`python -m vidlstm` is the `vidlstm` command."""

from vidlstm.cli.main import main

if __name__ == "__main__":
    main()
