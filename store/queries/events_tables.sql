-- events_tables: the tables of this events store.
-- scope:  installation, because the schema is shared by all tenants
-- grain:  one row per table
-- order:  name
-- params: none
SELECT name FROM system.tables WHERE database = currentDatabase() ORDER BY name
