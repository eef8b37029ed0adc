"""`python -m vidlatent` is the `vidlatent` command."""

from vidlatent.cli import main

if __name__ == "__main__":
    main()
