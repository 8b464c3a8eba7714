from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redpanda.errors import BadInputError
from tables.clickhouse.local.guard import refused_word
from tables.clickhouse.sql import first_word, insert_head, split_statements, tokens


def test_exactly_one_line_end_is_taken_before_the_data() -> None:
    head = insert_head("INSERT INTO `t` (`a`) FORMAT Native\n\n\x01rest")
    assert head is not None
    assert head.statement.strip() == "INSERT INTO `t` (`a`)"
    assert head.format == "Native"
    assert "INSERT INTO `t` (`a`) FORMAT Native\n\n\x01rest"[head.data_start :] == "\n\x01rest"


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t VALUES (1)",
        "INSERT INTO t SELECT 1 FORMAT Native",
        "SELECT 1 FORMAT Native",
        "",
        "-- nothing",
    ],
)
def test_what_carries_its_own_rows_is_no_data_insert(sql: str) -> None:
    assert insert_head(sql) is None


def test_format_inside_names_and_comments_is_not_the_clause() -> None:
    head = insert_head("/* FORMAT a */ insert into `FORMAT x` (`format`, b) -- FORMAT b\nformat TSV 1\n")
    assert head is not None
    assert head.format == "TSV"


def test_binary_data_after_the_head_is_never_read_as_sql() -> None:
    head = insert_head("INSERT INTO t FORMAT Native\n'`\"unclosed")
    assert head is not None
    assert head.format == "Native"


def test_statements_split_at_semicolons_outside_of_quotes() -> None:
    script = "-- a; b\nCREATE TABLE t (a String COMMENT 'x;y''z\\';'); /* ; */ SELECT `a;b`;\n\n;"
    assert split_statements(script) == [
        "-- a; b\nCREATE TABLE t (a String COMMENT 'x;y''z\\';')",
        "/* ; */ SELECT `a;b`",
    ]


def test_an_unclosed_quote_is_refused() -> None:
    with pytest.raises(BadInputError, match="unclosed quote at character 7"):
        split_statements("SELECT 'abc")


@given(
    st.lists(
        st.sampled_from(["a", "'b;c'", "`d;`", '"e"', "1", "(", ")", "--x\n", "/*;*/", "$h$;$h$"]),
        max_size=20,
    )
)
def test_tokens_keep_every_meaningful_character(parts: list[str]) -> None:
    text = " ".join(parts)
    kept = "".join(token.text for token in tokens(text))
    expected = "".join(part for part in parts if not part.startswith(("--", "/*")))
    assert kept.replace(" ", "") == expected


@given(st.text(max_size=200))
def test_any_text_is_either_read_or_refused(text: str) -> None:
    try:
        found = list(tokens(text))
    except BadInputError:
        return
    assert all(text[token.start : token.end] == token.text for token in found)


def test_first_word_skips_brackets_and_comments() -> None:
    assert first_word("  /* x */ (( select 1)) union all select 2") == "SELECT"
    assert first_word("") == ""


@pytest.mark.parametrize(
    "sql",
    [
        "select file('/etc/hostname')",
        "select `file`('/etc/hostname')",
        "select \"FILE\" ( 'x')",
        "select file/* ( */('x')",
        "select file--\n('x')",
        "select `fi\\x6ce`('x')",
        "select 1 into outfile 'x'",
        "insert into t from INFILE 'x' format TSV",
        "attach table t from 'x' (a Int8) engine = MergeTree order by a",
        "create table t (a Int8) engine = MergeTree order by a settings disk = disk(type = 'web')",
        "select * from Python(x)",
        "select * from executable('cat', TSV, 'a String')",
    ],
)
def test_statements_that_reach_outside_of_the_tables_are_refused(sql: str) -> None:
    assert refused_word(sql) is not None


@pytest.mark.parametrize(
    "sql",
    [
        "select file, profile(x) from t",
        "create table t (a Int8 COMMENT 'name of the file') engine = MergeTree",
    ],
)
def test_the_same_words_in_other_places_are_allowed(sql: str) -> None:
    assert refused_word(sql) is None
