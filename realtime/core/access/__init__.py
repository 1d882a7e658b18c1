"""Who asks, how they are known, and how much they may ask for."""
