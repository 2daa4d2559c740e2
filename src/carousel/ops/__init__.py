"""The equations: pure functions, forward and hand-derived backward.

Every part of Carousel that computes imports this package first, so torch's version is checked here.
"""

from carousel import torch_internals as torch_internals
