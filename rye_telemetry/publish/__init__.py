"""An item's numbers into its file, and out of it: what to publish, where, and in which way."""
