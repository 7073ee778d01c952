"""What several commands do: open a session, submit, follow, run on this machine with workers of their own."""
