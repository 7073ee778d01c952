"""Campaigns: request, submission, pause, resume, cancel and retry."""
