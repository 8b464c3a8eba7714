CREATE TABLE IF NOT EXISTS schema_migrations
(
    version    UInt32 COMMENT 'Number in front of the file name',
    name       String COMMENT 'Its name without number and ending',
    checksum   String COMMENT 'SHA-256 of the script as it was applied',
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'Wall clock of the store'
)
ENGINE = ReplacingMergeTree(applied_at)
ORDER BY version
COMMENT 'which numbered scripts this database has seen';
