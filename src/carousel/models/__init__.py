"""Models: their settings by family, from ids to logits, on disk."""

from carousel.models import families as families  # fills the registry of configs
