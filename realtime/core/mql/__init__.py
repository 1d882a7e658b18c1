"""MongoDB's query language: filters, projections, sorting, updates; compiled once."""
