"""Builds the documentation site: hooks of MkDocs, and the pages that are generated from the code."""
