"""`$jsonSchema`: MongoDB's own JSON Schema, compiled once."""
