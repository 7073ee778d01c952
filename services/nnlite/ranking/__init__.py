"""Ranks models for the programs that generate them: questions, the HTTP listener that answers, its client."""
