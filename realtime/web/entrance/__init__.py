"""What every endpoint goes through: dependencies, host and origin, errors, streams."""
