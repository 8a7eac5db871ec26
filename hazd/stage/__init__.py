"""What a scenario may do, and what it sees: kubectl's verbs, each on the timeline."""

from hazd.stage.verbs import (
    Stage,
)

__all__ = [
    "Stage",
]
