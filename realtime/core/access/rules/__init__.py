"""What each may see and write: rules as they are written, and what they come to for one principal."""
