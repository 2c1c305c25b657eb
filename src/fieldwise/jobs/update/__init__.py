"""``fieldwise update``: a model that learns from one day after the other, and is published while it does no harm."""
