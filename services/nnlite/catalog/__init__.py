"""Where models come from, and the choice of a mobile-friendly configuration."""
