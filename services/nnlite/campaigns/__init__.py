"""A campaign's life: plan, submit, progress, retry, pause, cancel."""
