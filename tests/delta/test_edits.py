"""Edits of a schema, and the ids and names that column mapping gives."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lakehouse import AlreadyExistsError, InputError, NotFoundError
from lakehouse.delta.schema.edits import (
    add_field,
    drop_field,
    find,
    move_field,
    rename_field,
    replace_field,
    with_metadata,
)
from lakehouse.delta.schema.fields import Array, Field, Map, Primitive, Struct, fields_of
from lakehouse.delta.schema.mapping import MAX_ID, MODE, assigned, field_ids
from lakehouse.delta.schema.types import schema_from_arrow
from lakehouse.testing import schemas

LONG = Primitive("long")
drawn = schemas(max_columns=4).map(schema_from_arrow)


def paths(schema):
    """Return the path of every field."""

    def walk(type_, path):
        match type_:
            case Struct(fields):
                for field in fields:
                    yield (*path, field.name)
                    yield from walk(field.type, (*path, field.name))
            case Array(element):
                yield from walk(element, (*path, "element"))
            case Map(key, value):
                yield from walk(key, (*path, "key"))
                yield from walk(value, (*path, "value"))

    return list(walk(schema, ()))


@given(schema=drawn, data=st.data())
def test_renaming_there_and_back_changes_nothing(schema, data):
    path = data.draw(st.sampled_from(paths(schema)))
    renamed = rename_field(schema, path, "a name that no column has")
    assert find(renamed, (*path[:-1], "a name that no column has")).type == find(schema, path).type
    assert rename_field(renamed, (*path[:-1], "a name that no column has"), path[-1]) == schema


@given(schema=drawn, data=st.data())
def test_adding_and_dropping_changes_nothing(schema, data):
    path = data.draw(st.sampled_from(paths(schema)))
    fresh = Field("a name that no column has", LONG)
    after = data.draw(st.none() | st.just(path[-1]))
    added = add_field(schema, path[:-1], fresh, after=after)
    assert find(added, (*path[:-1], fresh.name)) == fresh
    assert drop_field(added, (*path[:-1], fresh.name)) == schema


@given(schema=drawn, data=st.data())
def test_moving_keeps_every_field(schema, data):
    names = list(schema.names())
    name = data.draw(st.sampled_from(names))
    after = data.draw(st.none() | st.sampled_from(names))
    assume(after != name)
    moved = move_field(schema, (name,), after=after)
    assert sorted(moved.fields, key=repr) == sorted(schema.fields, key=repr)
    place = moved.names().index(name)
    assert (moved.names()[place - 1] if place else None) == after


def test_what_is_not_there_and_what_is_taken():
    schema = Struct((Field("distance", LONG), Field("Other", Struct((Field("x", LONG),)))))
    with pytest.raises(NotFoundError, match=r"distence.*Did you mean 'distance'"):
        find(schema, ("distence",))
    with pytest.raises(AlreadyExistsError, match="Other"):
        add_field(schema, (), Field("OTHER", LONG))
    with pytest.raises(AlreadyExistsError, match="Other"):
        rename_field(schema, ("distance",), "other")
    assert rename_field(schema, ("other",), "OTHER").names() == ("distance", "OTHER")
    with pytest.raises(InputError, match="only column of its struct"):
        drop_field(schema, ("other", "x"))
    with pytest.raises(InputError, match="'distance' is no struct"):
        find(schema, ("distance", "x"))
    described = replace_field(schema, ("distance",), lambda f: with_metadata(f, "comment", "km"))
    assert find(described, ("distance",)).metadata == {"comment": "km"}


@given(schema=drawn, keep=st.booleans())
def test_every_field_gets_an_id_and_a_name_of_its_own_once(schema, keep):
    configuration = {MODE: "name"}
    mapped, settings = assigned(schema, configuration, keep_names=keep)
    fields = list(fields_of(mapped))
    ids = [field.field_id for field in fields]
    assert set(ids) == set(range(1, len(ids) + 1))
    assert settings[MAX_ID] == str(len(ids))
    if keep:
        assert all(field.physical_name == field.name for field in fields)
    else:
        assert len({field.physical_name for field in fields}) == len(fields)
    assert assigned(mapped, settings) == (mapped, settings)
    # A dropped column's id is never given again.
    grown = add_field(mapped, (), Field("a name that no column has", LONG))
    again, _ = assigned(grown, {**settings, MAX_ID: "1000"})
    assert again.fields[-1].field_id == 1001
    assert again.fields[:-1] == mapped.fields


@given(schema=drawn)
def test_a_table_without_mapping_is_left_alone(schema):
    assert assigned(schema, {}) == (schema, {})
    assert field_ids(schema) == {}
