"""Values as MongoDB stores, orders and identifies them, and their Extended JSON."""
