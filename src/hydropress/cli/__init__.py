"""The command line; torch is imported by the commands, so that help is quick."""


def main() -> None:
    """Run the command line."""
    from hydropress.cli.app import app

    app(prog_name="hydropress")
