"""What the raw data of a run say: statistics, parity, causes of noise, the verdict, and the report of all."""
