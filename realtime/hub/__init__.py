"""Feed, query groups and subscriptions, and where they meet."""
