"""SQL that tries to get out: each text must be refused, or give nothing but what anybody may see.

``{file}`` is a file with the canary, ``{data}`` a data file of a table that the query may name.
"""

REFUSED = """
FROM '{file}'
FROM "{file}"
SELECT * FROM read_text('{file}')
SELECT * FROM read_blob('{file}')
SELECT * FROM read_csv('{file}')
SELECT * FROM read_csv_auto('{file}')
SELECT * FROM read_json('{file}')
SELECT * FROM read_json_auto('{file}')
SELECT * FROM read_ndjson_objects('{file}')
SELECT * FROM sniff_csv('{file}')
SELECT * FROM glob('/*')
SELECT * FROM parquet_metadata('{data}')
SELECT * FROM parquet_schema('{data}')
SELECT * FROM parquet_kv_metadata('{data}')
SELECT * FROM read_parquet('{data}')
SELECT * FROM parquet_scan('{data}')
FROM '{data}'
SELECT n FROM bronze.notes UNION ALL FROM read_parquet('{data}')
WITH notes AS (FROM read_parquet('{data}')) FROM notes
WITH "{data}" AS (SELECT 1) SELECT * FROM "{data}", (FROM "{data}")
WITH duckdb_settings AS (SELECT 1) FROM duckdb_settings
SELECT (SELECT text FROM (FROM read_parquet('{data}') LIMIT 1)) FROM bronze.notes
SELECT * FROM bronze.notes WHERE EXISTS (FROM read_text('{file}'))
SELECT * FROM bronze.notes, LATERAL (FROM read_text('{file}'))
SELECT * FROM bronze.notes ORDER BY (SELECT content FROM read_text('{file}'))
SELECT [x FOR x IN (SELECT list(content) FROM read_text('{file}'))]
SELECT * FROM query('FROM read_text(''{file}'')')
SELECT * FROM query_table('{file}')
SELECT * FROM query_table(['bronze.notes', '{data}'])
SELECT * FROM json_execute_serialized_sql('{{}}')
SELECT json_serialize_plan('SELECT * FROM read_text(''{file}'')')
SELECT getenv('LAKEHOUSE_CANARY')
SELECT current_setting('custom_user_agent')
SELECT current_setting('allowed_paths')
SELECT current_setting('temp_directory')
SELECT getvariable('kept')
SELECT * FROM duckdb_settings()
SELECT * FROM duckdb_secrets()
SELECT * FROM duckdb_secrets(redact := false)
SELECT * FROM duckdb_variables()
SELECT * FROM duckdb_views()
SELECT * FROM duckdb_views
SELECT * FROM duckdb_databases()
SELECT * FROM duckdb_logs()
SELECT * FROM duckdb_temporary_files()
SELECT * FROM which_secret('s3://bucket/a', 's3')
SELECT * FROM information_schema.tables
SELECT * FROM pg_catalog.pg_class
SELECT * FROM pg_class
SELECT * FROM sqlite_master
SELECT * FROM memory.bronze.notes
SELECT * FROM temp.main.dv
SELECT * FROM pragma_database_list
SELECT * FROM pragma_table_info('bronze.notes')
SELECT * FROM pragma_user_agent()
SELECT write_log('x')
SELECT sleep_ms(100000)
SELECT current_query()
SELECT nextval('a')
SELECT stats(1)
SELECT pg_get_viewdef(1)
SELECT main.getvariable('kept')
SELECT system.main.current_setting('threads')
SHOW TABLES
SHOW ALL TABLES
SHOW DATABASES
DESCRIBE
SUMMARIZE '{file}'
DESCRIBE '{data}'
DESCRIBE (FROM read_text('{file}'))
COPY bronze.notes TO '{file}.out'
COPY (SELECT 1) TO '{data}'
COPY bronze.notes FROM '{file}'
EXPORT DATABASE '{file}.out'
IMPORT DATABASE '{file}.out'
ATTACH '{file}.db' AS other
ATTACH ':memory:' AS other
DETACH memory
USE memory
INSTALL httpfs
LOAD httpfs
LOAD '{file}'
FORCE INSTALL httpfs FROM 'http://127.0.0.1:1/'
SET threads = 64
SET GLOBAL memory_limit = '1TB'
SET VARIABLE kept = 1
SET enable_external_access = true
RESET enable_external_access
PRAGMA enable_profiling
PRAGMA database_list
PRAGMA threads = 64
CALL pragma_version()
CALL enable_logging()
CREATE TABLE x AS SELECT 1
CREATE TEMP VIEW x AS FROM read_text('{file}')
CREATE MACRO x() AS TABLE FROM read_text('{file}')
CREATE SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')
CREATE PERSISTENT SECRET s (TYPE s3)
CREATE SEQUENCE a
CREATE TYPE t AS ENUM (SELECT content FROM read_text('{file}'))
INSERT INTO bronze.notes VALUES (9, 'x')
UPDATE bronze.notes SET n = 1
DELETE FROM bronze.notes
TRUNCATE bronze.notes
MERGE INTO bronze.notes USING (SELECT 1 AS n) AS s ON false WHEN NOT MATCHED THEN INSERT VALUES (1, 'x')
DROP TABLE bronze.notes
ALTER TABLE bronze.notes ADD COLUMN x INT
ALTER TABLE bronze.notes RENAME TO gone
COMMENT ON TABLE bronze.notes IS 'x'
BEGIN
COMMIT
CHECKPOINT
FORCE CHECKPOINT
VACUUM
ANALYZE
PREPARE p AS SELECT 1
EXECUTE p
EXPLAIN ANALYZE FROM read_text('{file}')
EXPLAIN SELECT 1
SELECT 1; SELECT 2
SELECT 1; COPY (SELECT 1) TO '{file}.out'
PIVOT bronze.notes ON text USING count(*)
SELECT * FROM bronze.notes AT (VERSION => (SELECT count(*) FROM read_text('{file}')))
SELECT * FROM bronze.notes AT (VERSION => length(repeat('x', 1000000000)))
SELECT * FROM bronze.notes AT (TIMESTAMP => now())
SELECT * FROM 's3://bucket/a.parquet'
SELECT * FROM 'https://127.0.0.1:1/a.parquet'
SELECT * FROM read_parquet('https://127.0.0.1:1/a.parquet')
SELECT * FROM delta_scan('{data}')
SELECT * FROM sqlite_scan('{file}', 'a')
SELECT * FROM postgres_query('a', 'b')
SELECT * FROM st_read('{file}')
SELECT * FROM arrow_scan(1, 2, 3)
SELECT * FROM python_map_function(1)
SELECT * FROM seq_scan('x')
SELECT * FROM received
SELECT * FROM job
SELECT * FROM os
SELECT * FROM test_all_types()
SELECT * FROM histogram('{data}', n)
SELECT * FROM bronze.gone
SELECT * FROM gone
SELECT CAST('a' AS nonsense)
SELECT nonsense(1)
SELECT
'
/* not closed
""".strip().splitlines()

HARMLESS = """
SELECT current_user, session_user, current_database(), current_schema(), version()
SELECT '{file}'
SELECT * FROM (VALUES ('{file}')) AS t(path)
SELECT parse_filename('{file}')
SELECT * FROM bronze.notes -- ; COPY (SELECT 1) TO '{file}.out'
SELECT /* FROM read_text('{file}') */ n FROM bronze.notes
SELECT 'FROM read_text(''{file}'')' AS sql
SELECT $$ ATTACH '{file}' $$
WITH notes AS (FROM bronze.notes) FROM notes
DESCRIBE bronze.notes
SUMMARIZE bronze.notes
SELECT * FROM json_each('[1, 2]')
SELECT n.* FROM bronze.notes AS n, LATERAL (SELECT n.n + 1)
PIVOT bronze.notes ON n IN (1, 2) USING count(*)
SELECT COLUMNS('n') FROM bronze.notes
SELECT uuid() IS NOT NULL, now() IS NOT NULL, random() < 1
""".strip().splitlines()

# What takes too much, and the limit that ends it (None: DuckDB, which may end it itself).
BOMBS: dict[str, str | None] = {
    "SELECT repeat('x', 4000000000)": "memory_limit",
    "SELECT repeat(repeat(repeat('x', 1000), 1000), 1000) FROM bronze.notes": "memory_limit",
    "SELECT printf('%2000000000d', 1)": "memory_limit",
    "SELECT range(1000000000)": "memory_limit",
    "SELECT len(range(1000000000000))": None,
    "SELECT list_aggregate(range(400000000), 'sum')": "memory_limit",
    "SELECT list_transform(range(100000000), lambda x: repeat('y', x))": "memory_limit",
    "SELECT list(range) FROM range(1000000000000)": "memory_limit",
    "SELECT string_agg(range::VARCHAR, ',') FROM range(1000000000000)": "memory_limit",
    "SELECT count(DISTINCT range::VARCHAR || 'aaaaaaaaaaaaaaaaaaaa') FROM range(1000000000000)": (
        "memory_limit"
    ),
    "SELECT range FROM range(1000000000000) ORDER BY hash(range)": "memory_limit",
    "WITH RECURSIVE t AS (SELECT 'a' AS s UNION ALL SELECT s || s FROM t) SELECT max(s) FROM t": (
        "memory_limit"
    ),
    "WITH RECURSIVE t AS (SELECT 1 AS i UNION ALL SELECT i FROM t) SELECT count(*) FROM t": (
        "timeout"
    ),
    "SELECT sum(hash(a.range + b.range)) FROM range(1000000) a, range(1000000) b": "timeout",
    "SELECT count(*) FROM range(1000000000000) WHERE hash(range) = 7": "timeout",
    "FROM range(1000000000000)": "max_rows",
    "SELECT repeat('x', 5000) FROM range(20000)": "max_bytes",
    "SELECT " + "(" * 20_000 + "1" + ")" * 20_000: None,
    "SELECT " + "+".join(["1"] * 50_000): None,
    "SELECT " + "[" * 5_000 + "]" * 5_000: None,
}
