"""The only door to databases: the books (SQLite or PostgreSQL) and the events store (ClickHouse or chDB)."""
