"""What `make monitoring` runs."""
