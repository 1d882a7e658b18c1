"""MongoDB's expressions, compiled once to closures; one file for each of its manual's headings."""
