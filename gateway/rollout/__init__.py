"""How a change of policies comes into force: read, tried, recorded, swapped, on all workers of a node alike."""
