"""The models that ship with the package, each known by its name."""

from pathlib import Path

ARTEFACTS = Path(__file__).parents[1] / "artefacts"
TELLER = "story"


def shipped() -> dict[str, Path]:
    """Return the checkpoint folder of each, by name."""
    return {path.name: path for path in sorted(ARTEFACTS.iterdir()) if path.is_dir()}


def by_name(run: Path) -> Path:
    """Return a path, or where nothing is there, the model that ships under such a name if any."""
    return run if run.exists() else shipped().get(str(run), run)
