"""What nnlite knows: tables, the report schema, queries and exports."""
