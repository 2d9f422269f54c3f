"""`fanfold`, and `python -m fanfold.cli`: says what to install where only the client is there."""

import sys

from fanfold.cli.exits import Exit


def main() -> None:
    """Run the command line."""
    try:
        from fanfold.cli.main import main as run

        run()
    except ModuleNotFoundError as error:
        missing = (error.name or "fanfold").partition(".")[0]
        if missing == "fanfold":
            raise
        sys.stderr.write(
            f"fanfold: this needs the package {missing}, which the client alone does not install: "
            "pip install 'fanfold[stack]'\n"
        )
        sys.exit(Exit.USAGE)


if __name__ == "__main__":
    main()
