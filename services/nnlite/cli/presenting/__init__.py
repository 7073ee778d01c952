"""What commands print: tables, notes, JSON, progress, and what a campaign waits for."""
