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
