"""What a run folder says: tables, figures and the report, read from its files alone."""
