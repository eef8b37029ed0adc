"""The command line in this process."""

from typer.testing import CliRunner, Result

from vidlatent.cli.app import app


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])
