"""The pure core: no event loop, clock, randomness, logging, driver or web."""
