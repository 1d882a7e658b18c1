"""The live result of a pipeline: kept as documents come, change and go, and never made from scratch."""
