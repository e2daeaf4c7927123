"""Who is in the picture: people found, followed from moment to moment, and their key points."""
