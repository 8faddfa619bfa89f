"""What is misspelt is named with what it may have been, and with no name of the lake's own making."""

import re

import pytest

import lakehouse

OURS = re.compile(r"lakehouse[ _]|[cft]\w*_[0-9a-f]{20}|\b(?:plan|scan|probe)\d|stand_in|kept_")
WRONG = {
    "SELECT nmae FROM silver.t": '"name"',
    "SELECT * FROM silver.t JOIN few ON t.id = nmae": '"name"',
    "UPDATE silver.t SET id = nmae": '"name"',
    "UPDATE silver.t SET name = lakehouse": '"lakehouse" not found',
    "UPDATE silver.t AS t SET name = u.nmae FROM silver.u AS u WHERE u.id = t.id": '"name"',
    "INSERT INTO silver.t VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET name = excluded.nmae": '"name"',
    "MERGE INTO silver.t AS t USING silver.u AS u ON t.id = u.id WHEN MATCHED AND u.nmae = 'a' THEN DELETE": '"name"',
    "DELETE FROM silver.t USING silver.u AS u WHERE u.idd = t.id": '"id"',
    "SELECT * FROM silver.t JOIN fwe USING (id)": '"few"',
    "CREATE VIEW gold.v AS SELECT * FROM few": "views read no temporary tables",
    "CREATE VIEW gold.v AS SELECT * FROM system.tables": "views do not read system.tables",
    "SELECT * FROM system.tabels": "Did you mean system.tables?",
    "SELECT * FROM system.maintenence": "Did you mean system.maintenance?",
}  # fmt: skip


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    with lakehouse.connect(tmp_path_factory.mktemp("lake"), durable=False) as lake:
        for name in ("silver.t", "silver.u"):
            lake.sql(f"CREATE TABLE {name} (id BIGINT, name VARCHAR)")
            lake.sql(f"INSERT INTO {name} VALUES (1, 'a')")
        lake.sql("CREATE TEMP TABLE few AS SELECT 1::BIGINT AS id")
        yield lake


@pytest.mark.parametrize(("statement", "said"), WRONG.items())
def test_errors_name_what_is_wrong(lake, statement, said):
    with pytest.raises(lakehouse.LakehouseError) as caught:
        lake.sql(statement)
    assert said in str(caught.value)
    assert not OURS.search(str(caught.value))


PYTHON = re.compile(r"schema_mode|null_safe|deduplicate|\w\.\w+\(")
ADVICE = {
    "INSERT INTO silver.t BY NAME SELECT 2::BIGINT AS id, 1 AS more": "ALTER TABLE silver.t ADD COLUMN",
    "MERGE INTO silver.t AS t USING (SELECT 1 AS id, 2 AS more) AS u ON t.id = u.id "
    "WHEN MATCHED THEN UPDATE SET *": "SET TBLPROPERTIES ('lakehouse.schemaMode' = 'add')",
    "UPDATE silver.t SET more = 1": "ALTER TABLE silver.t ADD COLUMN",
    "UPDATE silver.t SET nmae = 'b'": "Did you mean 'name'? Add it first: ALTER TABLE silver.t ADD",
    "INSERT INTO silver.t VALUES (7, 'a'), (7, 'b') ON CONFLICT (id) DO NOTHING": "QUALIFY row_number",
    "INSERT INTO silver.t VALUES (NULL, 'a') ON CONFLICT (id) DO NOTHING": "Leave them out; nothing",
    "UPDATE silver.t AS t SET name = u.name FROM (SELECT 1 AS id, 'a' AS name UNION ALL SELECT 1, 'b') "
    "AS u WHERE u.id = t.id": "QUALIFY row_number",
}  # fmt: skip


@pytest.mark.parametrize(("statement", "said"), ADVICE.items())
def test_what_to_do_next_is_said_in_sql(lake, statement, said):
    with pytest.raises(lakehouse.DataError) as caught:
        lake.sql(statement)
    assert said in str(caught.value)
    assert not PYTHON.search(str(caught.value))


def test_the_advice_on_new_columns_works(lake):
    lake.sql("CREATE TABLE silver.v (id BIGINT, s STRUCT(a INTEGER))")
    for statement in (
        "INSERT INTO silver.v BY NAME SELECT 1::BIGINT AS id, 2 AS more",
        "INSERT INTO silver.v SELECT 2, {'a': 1, 'b': 2}, 4",
    ):
        with pytest.raises(lakehouse.DataError) as caught:
            lake.sql(statement)
        assert not PYTHON.search(str(caught.value))
        advised = re.search(r"ALTER TABLE silver\.v SET TBLPROPERTIES \(.*?\)", str(caught.value))
        assert advised is not None
        lake.sql(advised[0])
        lake.sql(statement)
        lake.sql("ALTER TABLE silver.v UNSET TBLPROPERTIES ('lakehouse.schemaMode')")
    assert lake.sql("SELECT id, s.b, more FROM silver.v ORDER BY id").fetchall() == [
        (1, None, 2),
        (2, 2, 4),
    ]
