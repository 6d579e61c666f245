-- applied_migrations: which numbered migrations this events store has had.
-- scope:  installation, because the schema is shared by all tenants
-- grain:  one row per version (two programs that migrate at once may both have written one)
-- order:  version
-- params: none
SELECT version, any(name) AS name, any(sha256) AS sha256
FROM schema_migrations
GROUP BY version
ORDER BY version
