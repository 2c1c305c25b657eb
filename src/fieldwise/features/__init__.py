"""From raw columns to features: canonical text, fingerprints, vocabularies, bins, bags and crosses."""
