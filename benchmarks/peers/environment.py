"""Virtual environments of the peers and of the plots: made when first needed, then kept."""

import subprocess
import sys
from pathlib import Path

from benchmarks.measurement import NotAvailable
from benchmarks.processes import ROOT
from benchmarks.progress import Progress

DIRECTORY = ROOT / ".bench-peers"
_REQUIREMENTS = Path(__file__).parent / "requirements"


def python_with(name: str, progress: Progress) -> Path:
    """The interpreter of an environment that holds what `requirements/NAME.txt` names.

    Raises NotAvailable where that cannot be installed.
    """
    requirements = _REQUIREMENTS / f"{name}.txt"
    environment = DIRECTORY / name
    python = environment / "bin" / "python"
    # Written last, so that a half-made environment is made again.
    installed = environment / "installed.txt"
    if installed.exists() and installed.read_text() == requirements.read_text():
        return python
    progress.now(f"installing {requirements.name} into {DIRECTORY.name}/")
    DIRECTORY.mkdir(exist_ok=True)
    log = DIRECTORY / f"{name}.log"
    pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
    with log.open("wb") as output:
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(environment)],
            [*pip, "install", "--quiet", "--no-deps", "--requirement", str(requirements)],
        ):
            done = subprocess.run(  # noqa: S603 - the command is ours
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
            )
            if done.returncode:
                where = log.relative_to(ROOT)
                raise NotAvailable(f"its packages cannot be installed; see {where}")
    installed.write_text(requirements.read_text())
    return python
