"""What the checks have in common: how a file is called, and how a check ends."""
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent


def shown(path):
    """A path as it is told: below the project where it lies there."""
    path = pathlib.Path(path)
    return path.resolve().relative_to(ROOT) if path.resolve().is_relative_to(ROOT) else path


def told(faults, summary):
    """Prints the faults, or the summary where there are none; gives the exit status."""
    print("\n".join(faults) if faults else summary)
    return 1 if faults else 0
