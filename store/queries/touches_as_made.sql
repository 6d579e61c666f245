-- touches_as_made: the statement that would make the table of touches as it is now.
-- scope:  installation, because the schema is shared by all tenants
-- grain:  one row, or none before the first migration
-- order:  create_table_query (there is one)
-- params: none
SELECT create_table_query
FROM system.tables
WHERE database = currentDatabase() AND name = 'touches'
ORDER BY create_table_query
