"""The `vidlatent` command: one file a verb."""


def main() -> None:
    """Run the command line with the process's arguments, and exit with its code."""
    from vidlatent.cli.app import run

    run()
