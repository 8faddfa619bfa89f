"""The paths that a log may name: whatever passes stays inside the table's folder."""

import posixpath
from pathlib import Path
from urllib.parse import quote, unquote

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import lakehouse
from lakehouse.delta.codec import encode_path
from lakehouse.delta.paths import (
    check_file_path,
    check_file_paths,
    check_sidecar,
    check_vector_prefix,
    decode_path,
)

ROOT = "/lake/silver/flights"
# What attacks are made of, in every disguise.
PIECES = st.sampled_from(
    ["..", ".", "/", "\\", "a", "b=1", "%2e", "%2E%2e", "%252e", "%2f", "%5c", "%", "%zz", "%ff",
     "%c3%a9", "é", "\u202e", "\u200c", "file:", "s3://", "C:", "%3a", ":", "_delta_log",
     "_catalog", "_DELTA_LOG", "~", "*", "[", "?", "#", " ", "%00", "\0", "\n", "%0a", "%7f",
     "\ud800", "\uff0e", "%ef%bc%8e", "", "=", "+", "%20", "%3D", "%2B", "%2d", "%41", "-", "x.parquet"]
)  # fmt: skip
PATHS = st.one_of(st.lists(PIECES, max_size=7).map("".join), st.text(max_size=12))


def _passes(path):
    try:
        check_file_path(path)
    except lakehouse.CorruptionError:
        return False
    return True


@given(PATHS)
@example("a/../../x")
@example("%2e%2e/x")
@example("..%2fx")
def test_what_passes_stays_inside_and_has_one_name(path):
    if not _passes(path):
        return
    decoded = check_file_path(path)
    joined = posixpath.normpath(f"{ROOT}/{decoded}")
    assert joined.startswith(f"{ROOT}/")
    assert joined == f"{ROOT}/{decoded}"
    assert not {"_delta_log", "_catalog"} & set(decoded.lower().split("/"))
    assert decoded == unquote(path)
    assert all(char >= " " for char in decoded)


@given(st.lists(PATHS.filter(lambda path: "\ud800" not in path), max_size=5))
@example(["a%2F..%2F..%2Fx"])
@example(["a%3Ab"])
@example(["aa:b"])
@example(["a%2B%3Ax"])
@example(["a%2d:x"])
@example(["a%41%3ab/x"])
@example(["%41%3A/x"])
@example(["%5Fdelta_log/x"])
@example(["a/%2Fdelta"])
@example(["a/%5Fcatalog"])
@example(["a" * 4096, "b"])
@example(["a" * 4097])
def test_the_form_for_many_agrees_with_the_form_for_one(paths):
    _agree(paths)


def _agree(paths):
    # Arrow holds no half of a surrogate pair.
    paths = [path for path in paths if not any("\ud800" <= char <= "\udfff" for char in path)]
    try:
        check_file_paths(pa.chunked_array([pa.array(paths, pa.string())]))
        accepted = True
    except lakehouse.CorruptionError:
        accepted = False
    assert accepted == all(map(_passes, paths))


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=10))
def test_the_form_for_many_agrees_on_plain_text(path):
    _agree([path])


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_hive_folders_as_others_write_them_pass(value):
    # Spark and delta-rs escape the value for the folder's name, and the path for the log.
    folder = f"p={quote(value, safe='')}"
    assert check_file_path(f"{quote(folder, safe='=')}/x.parquet") == f"{folder}/x.parquet"


@pytest.mark.parametrize("column", ["p", "a:b", "..", "_delta_log", "C", "é\u202e", "a/b", "%"])
def test_every_path_that_we_write_passes(tmp_path, column):
    values = ["", "..", "../..", "a/b", "a\\b", "C:", "s3://x", "\n", "%2e", "%", "*", "[x]", "é",
              "\u202e", "_delta_log", ".", " ", "=", "\x7f", "~", "'", '"', "x" * 80, None]  # fmt: skip
    rows = [{column: value, "n": number} for number, value in enumerate(values)]
    with lakehouse.connect(tmp_path / "lake", durable=False) as lake:
        table = lake.create_table(
            "bronze.t", {column: "VARCHAR", "n": "BIGINT"}, partition_by=column
        )
        table.append([row for row in rows if row[column] != ""])
        for add in table.snapshot().files.adds():
            assert Path(table.uri, check_file_path(add.path)).is_file()
            assert encode_path(check_file_path(add.path)) == add.path
        read = {row[1] for row in table.read(columns=[column, "n"]).fetchall()}
        assert read == set(range(1, len(values)))


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("", "empty"),
        ("/etc/passwd", "absolute"),
        ("%2Fetc/passwd", "absolute"),
        ("//host/share", "absolute"),
        ("s3://bucket/x.parquet", "absolute"),
        ("file:/etc/passwd", "absolute"),
        ("file%3A/etc/passwd", "absolute"),
        ("C:/x.parquet", "absolute"),
        ("../x.parquet", "not inside"),
        ("a/../../x.parquet", "not inside"),
        ("a/%2e%2E/%2e%2e/x.parquet", "not inside"),
        ("a%2f..%2f..%2fx.parquet", "not inside"),
        ("./x.parquet", "normalised"),
        ("a//x.parquet", "normalised"),
        ("a/./x.parquet", "normalised"),
        ("a/", "normalised"),
        ("a\\..\\x.parquet", "backslash"),
        ("a%5c..%5cx.parquet", "backslash"),
        ("x.parquet%00.txt", "control"),
        ("a\nb.parquet", "control"),
        ("a%7Fb.parquet", "control"),
        ("_delta_log/00000000000000000000.json", "holds no data"),
        ("%5Fdelta_log/0.json", "holds no data"),
        ("_Delta_Log/0.json", "holds no data"),
        ("_delta\u200c_log/0.json", "holds no data"),
        ("\uff3fdelta_log/0.json", "holds no data"),
        ("other/_delta_log/0.json", "holds no data"),
        ("_catalog/0.json", "holds no data"),
        ("a%zz.parquet", "hexadecimal"),
        ("a%.parquet", "hexadecimal"),
        ("%ff.parquet", "UTF-8"),
        ("%c0%af.parquet", "UTF-8"),
        ("\ud800.parquet", "surrogate"),
        ("a" * 4097, "longer"),
    ],
)
def test_what_is_refused_is_named(path, words):
    with pytest.raises(lakehouse.CorruptionError, match=words) as caught:
        check_file_path(path)
    assert repr(path[:80])[1:-1] in str(caught.value)


def test_paths_are_decoded_once():
    assert check_file_path("%252e%252e/x.parquet") == "%2e%2e/x.parquet"
    assert decode_path("a+b%2Bc") == "a+b+c"


@pytest.mark.parametrize("name", ["", ".x", "..", "a/b", "*.parquet", "a%2Fb", "é", None, 5, "a b"])
def test_sidecars_have_plain_names(name):
    with pytest.raises(lakehouse.CorruptionError, match="_sidecars"):
        check_sidecar(name)


@pytest.mark.parametrize("prefix", ["..", "a/b", "\uff21", "a" * 256, "."])
def test_prefixes_of_deletion_vectors_are_letters_and_digits(prefix):
    with pytest.raises(lakehouse.CorruptionError, match="prefix"):
        check_vector_prefix(prefix)
