"""MongoDB as seen from here: errors of the stream, lag, what the doctor makes of it."""
