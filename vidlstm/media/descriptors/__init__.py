"""What is described without a network: motion, colour, texture, and the table of streams."""
