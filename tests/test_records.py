"""Users' CSV files: each refusal names the file, the line, the column, the value and what is allowed."""

from pathlib import Path

import numpy as np
import pytest

import bayesalloc as ba
from bayesalloc.inference.posing import Problem, pose
from bayesalloc.models import cooperation, watershed as catchment
from bayesalloc.records import Table

HEAD = "year,forest_health,erosion\n"
GOOD = HEAD + "2001,0.5,0.6\n2002,0.51,\n2003,,0.58\n"

# text of the file -> what the message must contain, besides the file's path
BAD_WATERSHED = {
    "missing column": ("year,forest_health\n2001,0.5\n", ["'erosion'", "forest_health, year"]),
    "a year twice": (HEAD + "2001,0.5,0.6\n2002,0.5,0.6\n2002,0.5,0.6\n", ["line 4", "'year'", "2002", "twice"]),
    "a year going backwards": (HEAD + "2002,0.5,0.6\n2001,0.5,0.6\n", ["line 3", "'year'", "2001", "2002", "increase"]),
    "a year that is no number": (HEAD + "2001,0.5,0.6\nlast,0.5,0.6\n", ["line 3", "'year'", "'last'", "whole number"]),
    "half a year": (HEAD + "2001.5,0.5,0.6\n", ["line 2", "'year'", "'2001.5'", "whole number"]),
    "an empty year": (HEAD + "2001,0.5,0.6\n,0.5,0.6\n", ["line 3", "'year'", "whole number"]),
    "health above one": (HEAD + "2001,1.3,0.6\n", ["line 2", "'forest_health'", "1.3", "[0, 1]"]),
    "health below zero": (HEAD + "2001,-0.1,0.6\n", ["line 2", "'forest_health'", "-0.1", "[0, 1]"]),
    "negative erosion": (HEAD + "2001,0.5,0.6\n2002,0.5,-0.2\n", ["line 3", "'erosion'", "-0.2", "0"]),
    "endless erosion": (HEAD + "2001,0.5,inf\n", ["line 2", "'erosion'", "inf", "0"]),
    "text in a number": (HEAD + "2001,good,0.6\n", ["line 2", "'forest_health'", "'good'", "[0, 1]", "missing"]),
    "a decimal comma": (HEAD + '2001,"0,5",0.6\n', ["line 2", "'forest_health'", "'0,5'", "[0, 1]"]),
    "NaN written out": (HEAD + "2001,nan,0.6\n", ["line 2", "'forest_health'", "nan", "[0, 1]"]),
    "negative contribution": (
        "year,forest_health,erosion,contribution_expert\n2001,0.5,0.6,-0.1\n",
        ["line 2", "'contribution_expert'", "-0.1", "0"],
    ),
    "an empty mechanism": (
        "year,forest_health,erosion,mechanism\n2001,0.5,0.6,cost_sharing\n2002,0.5,0.6,\n",
        ["line 3", "'mechanism'", "empty", "label"],
    ),
    "an unknown mechanism": (
        "year,forest_health,erosion,mechanism\n2001,0.5,0.6,cost_sharing\n2002,0.5,0.6,taxes\n",
        ["line 3", "'mechanism'", "'taxes'", "cost_sharing, credit_trading, no_agreement, performance_contract"],
    ),
    "an empty file": ("", ["empty"]),
    "only blank lines": ("\n , \n\n", ["empty"]),
    "only a header": (HEAD, ["header", "no row"]),
    "too few cells": (HEAD + "2001,0.5,0.6\n2002,0.5\n", ["line 3", "2 cells", "3"]),
    "too many cells": (HEAD + "2001,0.5,0.6,0.7\n", ["line 2", "4 cells", "3"]),
    "a quote that is never closed": (HEAD + '2001,"0.5,0.6\n2002,0.5,0.6\n', ["3"]),
    "a year of thirty digits": (HEAD + f"{10**30},0.5,0.6\n", ["line 2", "'year'", "in [-10000, 10000]"]),
    "a year with an underscore": (HEAD + "2_001,0.5,0.6\n", ["line 2", "'year'", "'2_001'", "whole number"]),
    "a number with an underscore": (HEAD + "2001,0.5,1_0\n", ["line 2", "'erosion'", "1_0"]),
    "beyond single precision": (HEAD + "2001,0.5,1e39\n", ["line 2", "'erosion'", "1e39", "too large", "3.4e+38"]),
    "below single precision": (HEAD + "2001,0.5,1e-39\n", ["line 2", "'erosion'", "1e-39", "too near zero"]),
    "a cell too long": (HEAD + f"2001,0.5,{'1' * 1001}\n", ["line 2", "a cell of more than 1,000 characters"]),
    "a label too long": (
        f"year,forest_health,erosion,mechanism\n2001,0.5,0.6,{'a' * 300}.toml\n",
        ["line 2", "'mechanism'", "305 characters", "at most 100"],
    ),
    "too many columns": (",".join(map(str, range(100_000))) + "\n", ["line 1", "100,000 cells", "2,000"]),
    "too many cells in all": (("1," * 1_999 + "1\n") * 2_501, ["line 2501", "5,000,000 cells"]),
    "too many bytes": ("year\n" + "2001\n" * 10_000_001, ["larger than the 50,000,000 bytes"]),
    "a path of a mechanism": (
        "year,forest_health,erosion,mechanism\n2001,0.5,0.6,helper.py\n",
        ["line 2", "'mechanism'", "no mechanism is called 'helper.py'", "among the mechanisms"],
    ),
    "a column twice": ("year,erosion,erosion\n2001,0.5,0.6\n", ["'erosion'", "twice", "header"]),
    "semicolons": ("year;forest_health;erosion\n2001;0.5;0.6\n", ["'year'", "year;forest_health;erosion"]),
    "counted over blank lines": (HEAD + "\n2001,0.5,0.6\n\n\n2002,1.5,0.6\n", ["line 6", "'forest_health'", "1.5"]),
    "counted over windows lines": ("year,forest_health,erosion\r\n2001,0.5,0.6\r\n2002,1.5,0.6\r\n", ["line 3", "1.5"]),
    "counted over a cell of two lines": (
        'year,forest_health,erosion,note\n2001,0.5,0.6,"two\nlines"\n2002,1.5,0.6,x\n',
        ["line 4", "'forest_health'", "1.5"],
    ),
}  # fmt: skip
PEOPLE = "group,person,mechanism,contribution,endowment\n"
BAD_COOPERATION = {
    "missing column": ("group,person,mechanism,contribution\n1,1,a,2\n", ["'endowment'", "contribution, group"]),
    "person twice": (PEOPLE + "1,1,a,2,20\n1,2,a,2,20\n1,1,a,3,20\n", ["line 4", "'person'", "'1'", "line 2"]),
    "person twice in a round": (
        "group,person,mechanism,contribution,endowment,round\n1,1,a,2,20,1\n1,1,a,2,20,2\n1,1,a,2,20,2\n",
        ["line 4", "'person'", "'1'", "line 3"],
    ),
    "more than one has": (PEOPLE + "1,1,a,2,20\n1,2,a,21,20\n", ["line 3", "'contribution'", "21", "[0, 20]"]),
    "an endowment that is nearly nothing": (PEOPLE + "1,1,a,0,1e-50\n", ["line 2", "'endowment'", "too near zero"]),
    "rounds and people that are each too many": (
        "group,person,mechanism,contribution,endowment,round\n" + "".join(f"1,{i},a,2,20,{i}\n" for i in range(3_000)),
        ["3,000 rounds of 3,000 people", "5,000,000"],
    ),
    "less than nothing": (PEOPLE + "1,1,a,-1,20\n", ["line 2", "'contribution'", "-1", "0"]),
    "nothing to give": (PEOPLE + "1,1,a,0,0\n", ["line 2", "'endowment'", "0", "above 0"]),
    "endowment missing": (PEOPLE + "1,1,a,0,\n", ["line 2", "'endowment'", "empty", "above 0"]),
    "endowment changes": (
        "group,person,mechanism,contribution,endowment,round\n1,1,a,2,20,1\n1,1,a,2,30,2\n",
        ["line 3", "'endowment'", "30", "20"],
    ),
    "group missing": (PEOPLE + ",1,a,2,20\n", ["line 2", "'group'", "empty", "label"]),
    "mechanism missing": (PEOPLE + "1,1,,2,20\n", ["line 2", "'mechanism'", "empty", "label"]),
    "a round that is no number": (
        "group,person,mechanism,contribution,endowment,round\n1,1,a,2,20,first\n",
        ["line 2", "'round'", "'first'", "whole number"],
    ),
}


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def refusal(model: str, path: Path) -> str:
    with pytest.raises(ba.InputError) as caught:
        pose(ba.load_model(model), path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def posed(model: str, path: Path) -> Problem:
    return pose(ba.load_model(model), path)


def read(text: str, tmp_path: Path, mechanism: str | None = None):
    return catchment.read(Table(write(tmp_path / "record.csv", text)), mechanism)


@pytest.mark.parametrize("case", BAD_WATERSHED)
def test_bad_watershed_records(tmp_path, case):
    text, parts = BAD_WATERSHED[case]
    message = refusal("watershed", write(tmp_path / "record.csv", text))
    for part in parts:
        assert part in message


@pytest.mark.parametrize("case", BAD_COOPERATION)
def test_bad_cooperation_records(tmp_path, case):
    text, parts = BAD_COOPERATION[case]
    message = refusal("cooperation", write(tmp_path / "record.csv", text))
    for part in parts:
        assert part in message


def test_files_that_cannot_be_read(tmp_path):
    assert "no such file" in refusal("watershed", tmp_path / "nowhere.csv")
    assert "text" in refusal("watershed", tmp_path)  # a folder
    latin = write(tmp_path / "latin.csv", "year,forest_health,erosion,märz\n2001,0.5,0.6,1\n", "latin-1")
    assert "text" in refusal("watershed", latin)
    assert "text" in refusal("watershed", write(tmp_path / "wide.csv", GOOD, "utf-16"))


def test_a_quote_that_is_never_closed_in_a_long_file(tmp_path):
    """The csv module gives up on a cell of 131,072 letters, with an error of its own."""
    rows = "".join(f"{year},0.5,0.6\n" for year in range(2001, 22_001))
    assert len(rows.replace("\n", "")) > 131_072
    refusal("watershed", write(tmp_path / "record.csv", HEAD + '2000,"0.5,0.6\n' + rows))


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        "\ufeff" + GOOD,
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("\n", "\n\n"),
        GOOD.replace(",", " , "),
        GOOD.rstrip("\n"),
        '"year","forest_health","erosion"\n"2001","0.5","0.6"\n"2002","0.51",""\n"2003","","0.58"\n',
        "erosion,year,forest_health\n0.6,2001,0.5\n,2002,0.51\n0.58,2003,\n",
    ],
    ids=["plain", "BOM", "windows", "blank lines", "spaces", "no last newline", "quoted", "columns reordered"],
)
def test_one_record_in_many_spellings(tmp_path, text):
    recorded = read(text, tmp_path)
    assert recorded.periods == [2001, 2002, 2003]
    np.testing.assert_allclose(recorded.data["forest_health"], np.float32([0.5, 0.51, np.nan]))
    np.testing.assert_allclose(recorded.data["erosion"], np.float32([0.6, np.nan, 0.58]))


def test_bounds_themselves_are_allowed(tmp_path):
    recorded = read(HEAD + "2001,0,1e-9\n2002,1,0.6\n", tmp_path)
    np.testing.assert_allclose(recorded.data["forest_health"], [0.0, 1.0])


def test_quoted_cells_keep_their_commas(tmp_path):
    table = Table(write(tmp_path / "a.csv", 'a,"b, c"\n1,"x, ""y"""\n'))
    assert table.columns == {"a": ["1"], "b, c": ['x, "y"']}


def test_the_text_of_a_table_reads_back_as_the_same_table(tmp_path):
    table = Table(write(tmp_path / "a.csv", '\ufeffa,"b, c"\n\n1,"x, ""y"""\n,2\n'))
    again = Table("copy.csv", text=table.text())
    assert again.columns == table.columns
    assert again.text() == table.text()


def test_unused_columns_are_named_in_a_warning(tmp_path):
    path = write(tmp_path / "record.csv", "year,note,forest_health,erosion,rain\n2001,x,0.5,0.6,7\n")
    (warning,) = [w for w in posed("watershed", path).warnings if "not used" in w]
    assert str(path) in warning
    assert "note, rain" in warning
    plain = posed("watershed", write(tmp_path / "record.csv", GOOD))
    assert not [w for w in plain.warnings if "not used" in w]


def test_years_without_a_row_become_missing(tmp_path):
    recorded = read(HEAD + "2001,0.5,0.6\n2004,0.6,0.5\n", tmp_path)
    assert recorded.periods == [2001, 2002, 2003, 2004]
    np.testing.assert_allclose(recorded.data["forest_health"], np.float32([0.5, np.nan, np.nan, 0.6]))
    np.testing.assert_allclose(recorded.data["erosion"], np.float32([0.6, np.nan, np.nan, 0.5]))


def test_the_mechanism_goes_on_through_years_without_a_row_with_a_warning(tmp_path):
    text = "year,forest_health,erosion,mechanism\n2001,0.5,0.6,credit_trading\n2004,0.6,0.5,cost_sharing\n"
    recorded = read(text, tmp_path)
    assert list(recorded.labels) == ["credit_trading"] * 3 + ["cost_sharing"]
    assert any("mechanism" in warning and "without a row" in warning for warning in recorded.warnings)
    whole = read(text.replace("2004", "2002"), tmp_path)
    assert list(whole.labels) == ["credit_trading", "cost_sharing"]
    assert whole.warnings == []


def test_labels_index_the_arms_in_force(tmp_path):
    own = write(tmp_path / "ours.toml", 'title = "x"\ndescription = "x"\n[incentive]\nmodifier = 1.1\n')
    rows = ["2001,0.5,0.6,ours", "2002,0.5,0.6,no_agreement", "2003,0.5,0.6,ours"]
    path = write(tmp_path / "record.csv", "year,forest_health,erosion,mechanism\n" + "\n".join(rows))
    for given in (own, str(own), ba.load_mechanism(own)):
        problem = pose(ba.load_model("watershed"), path, mechanisms=[given])
        assert list(problem.arms) == ["ours", "no_agreement"]
        np.testing.assert_array_equal(problem.labels, [0, 1, 0])
    assert float(problem.arms["ours"].modifier) == np.float32(1.1)
    assert "'ours'" in refusal("watershed", path) and "among the mechanisms" in refusal("watershed", path)


def test_a_mechanism_that_was_in_force_throughout_by_name_or_path(tmp_path):
    own = write(tmp_path / "ours.toml", 'title = "x"\ndescription = "x"\n[incentive]\nmodifier = 1.1\n')
    path = write(tmp_path / "record.csv", GOOD)
    for mechanism, mechanisms in ((str(own), []), ("ours", [own])):
        problem = pose(ba.load_model("watershed"), path, mechanism=mechanism, mechanisms=mechanisms)
        assert (list(problem.arms), problem.mechanism, list(problem.mechanisms)) == (["ours"], "ours", ["ours"])


def test_what_a_file_means_beside_a_shipped_name_or_for_no_year_is_said(tmp_path):
    text = 'title = "x"\ndescription = "x"\n[incentive]\nmodifier = 1.1\n'
    ours, idle = write(tmp_path / "cost_sharing.toml", text), write(tmp_path / "idle.toml", text)
    path = write(tmp_path / "record.csv", "year,forest_health,erosion,mechanism\n2001,0.5,0.6,cost_sharing\n")
    problem = pose(ba.load_model("watershed"), path, mechanisms=[ours, idle])
    assert float(problem.arms["cost_sharing"].modifier) == np.float32(1.1)
    assert problem.warnings == [
        f"'cost_sharing' means {ours} here, not the shipped mechanism",
        "in no year in force: idle",
    ]


def test_without_a_mechanism_none_is_assumed_with_a_warning(tmp_path):
    recorded = read(GOOD, tmp_path)
    assert list(recorded.labels) == ["no_agreement"] * 3
    assert any("no_agreement" in warning for warning in recorded.warnings)
    given = read(GOOD, tmp_path, "cost_sharing")
    assert list(given.labels) == ["cost_sharing"] * 3
    assert given.warnings == []


def test_contributions_may_be_given_for_some_agents_and_years(tmp_path):
    text = (
        "year,forest_health,erosion,contribution_expert,contribution_investor\n2001,0.5,0.6,0.4,\n2003,0.5,0.6,,0.7\n"
    )
    found = read(text, tmp_path).data["contribution"]
    expected = np.full((3, len(catchment.AGENTS)), np.nan, np.float32)
    expected[0, catchment.AGENTS.index("expert")] = 0.4
    expected[2, catchment.AGENTS.index("investor")] = 0.7
    np.testing.assert_allclose(found, expected)


def test_contribution_columns_without_a_number_are_as_if_they_were_not_there(tmp_path):
    text = "year,forest_health,erosion,contribution_expert\n2001,0.5,0.6,\n2002,0.5,0.6,\n"
    recorded = read(text, tmp_path)
    assert "contribution" not in recorded.data
    assert recorded.noncentered == read(GOOD, tmp_path).noncentered


def test_contributions_that_are_not_shares_give_a_warning(tmp_path):
    recorded = read("year,forest_health,erosion,contribution_expert\n2001,0.5,0.6,40\n", tmp_path, "cost_sharing")
    (warning,) = recorded.warnings
    assert "40" in warning
    assert "share" in warning


def test_cooperation_people_groups_and_shares(tmp_path):
    rows = ["a,1,talk,5,20", "a,2,talk,,20", "b,1,none,10,10", "b,2,none,0,40"]
    recorded = cooperation.read(Table(write(tmp_path / "r.csv", PEOPLE + "\n".join(rows))))
    np.testing.assert_allclose(recorded.data["share"], np.float32([[0.25, np.nan, 1.0, 0.0]]))
    assert list(recorded.environment.arms(None)) == ["talk", "none"]
    assert recorded.labels.tolist() == [["talk", "talk", "none", "none"]]
    assert recorded.periods == [1]


def test_cooperation_rounds_in_any_order_with_gaps(tmp_path):
    head = "group,person,mechanism,contribution,endowment,round\n"
    rows = ["a,1,on,10,20,4", "a,2,on,15,20,4", "a,1,off,5,20,2"]
    recorded = cooperation.read(Table(write(tmp_path / "r.csv", head + "\n".join(rows))))
    assert recorded.periods == [2, 4]
    np.testing.assert_allclose(recorded.data["share"], np.float32([[0.25, np.nan], [0.5, 0.75]]))
    assert recorded.labels[0, 0] == "off"
    assert recorded.labels[1].tolist() == ["on", "on"]


def test_cooperation_with_one_mechanism_for_all_needs_no_column(tmp_path):
    path = write(tmp_path / "r.csv", "group,person,contribution,endowment\n1,1,5,20\n1,2,6,20\n")
    assert "'mechanism'" in refusal("cooperation", path)
    recorded = cooperation.read(Table(path), "talk")
    assert recorded.labels.tolist() == [["talk", "talk"]]


def test_plain_models_read_the_columns_of_their_keywords(tmp_path):
    def model(dose=None, arm=None, score=None):
        raise AssertionError("reading a record must not run the model")

    path = write(tmp_path / "r.csv", "dose,arm,score,other\n1,new,2.0,x\n0,old,3.5,x\n")
    data = pose(model, path).data
    np.testing.assert_array_equal(data["dose"], [1, 0])
    assert data["dose"].dtype == np.int32
    np.testing.assert_allclose(data["score"], [2.0, 3.5])
    np.testing.assert_array_equal(data["arm"], [0, 1])
    assert set(data) == {"dose", "arm", "score"}
    assert any("other" in warning for warning in pose(model, path).warnings)


def test_text_is_coded_in_order_of_appearance(tmp_path):
    def model(arm=None): ...

    data = pose(model, write(tmp_path / "r.csv", "arm\nzinc\nacid\nzinc\n")).data
    np.testing.assert_array_equal(data["arm"], [0, 1, 0])


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("x,score\n1,2.0\n", ["'dose'", "score, x"]),
        ("dose,score\n1,2.0\n2,\n", ["line 3", "'score'", "missing"]),
        ("dose,score\n1,2.0\nhigh,1.0\n", ["line 3", "'dose'", "'high'"]),
    ],
    ids=["missing column", "missing cell", "one word among numbers"],
)
def test_plain_models_refuse(tmp_path, text, parts):
    def model(dose, score=None): ...

    path = write(tmp_path / "r.csv", text)
    with pytest.raises(ba.InputError) as caught:
        pose(model, path)
    for part in (str(path), *parts):
        assert part in str(caught.value)


def test_plain_models_refuse_a_record_of_something_else(tmp_path):
    def model(dose=None): ...

    with pytest.raises(ba.InputError, match="dose"):
        pose(model, write(tmp_path / "r.csv", "a,b\n1,2\n"))
