"""YAML that nobody vouches for: nothing is made, nothing multiplies, nothing is skipped."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from bimacosr.checkpoints.yaml_tree import Section, read_tree
from bimacosr.errors import OptionError

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)


def write(folder: Path, text: str) -> Path:
    path = folder / "a.yaml"
    path.write_text(text)
    return path


class TestHostile:
    def test_a_bomb_fails_fast(self, tmp_path: Path) -> None:
        begun = time.monotonic()
        with pytest.raises(OptionError, match=r"line 2 has an alias \(\*a0\)"):
            read_tree(write(tmp_path, BOMB))
        assert time.monotonic() - begun < 5

    @pytest.mark.parametrize(
        "tag",
        [
            "!!python/object/apply:os.system",
            "!!python/object/new:os.system",
            "!!python/name:os.system",
            "!made_up",
            "!!set",
            "!!binary",
        ],
    )
    def test_tags_make_nothing(self, tmp_path: Path, tag: str) -> None:
        canary = tmp_path / "canary"
        path = write(tmp_path, f"a: {tag} ['touch {canary}']\n")
        with pytest.raises(OptionError, match=r"line 1 has a tag \(.*\)"):
            read_tree(path)
        assert not canary.exists()

    @pytest.mark.parametrize("opening", ["[", "{a: "])
    def test_deep_nesting(self, tmp_path: Path, opening: str) -> None:
        with pytest.raises(OptionError, match="nested more than 16 deep"):
            read_tree(write(tmp_path, "a: " + opening * 5000))

    def test_too_large(self, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match="has more than 65536 bytes"):
            read_tree(write(tmp_path, "a: 1\n" + "#" * 65536))

    def test_a_key_twice(self, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match="line 3 sets 'lr' a second time"):
            read_tree(write(tmp_path, "train:\n  lr: 1\n  lr: 2\n"))

    @pytest.mark.parametrize("text", ["<<: {a: 1}", "1: 2", "? [a]\n: 1", "true: 1"])
    def test_keys_that_are_no_names(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(OptionError, match="line 1 has a key that is no plain name"):
            read_tree(write(tmp_path, text))


class TestNoConfiguration:
    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match=r"a\.yaml cannot be read: No such file"):
            read_tree(tmp_path / "a.yaml")

    @pytest.mark.parametrize("text", ["", "just text", "- 1\n- 2\n"])
    def test_no_settings(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(OptionError, match="holds no settings by name"):
            read_tree(write(tmp_path, text))

    @pytest.mark.parametrize("text", ["a: [1", "a: 1\n b: 2\n", "\tx: 1", "a: 1\n---\nb: 2\n"])
    def test_no_yaml(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(OptionError, match=r"a\.yaml is no plain YAML: .* in line \d"):
            read_tree(write(tmp_path, text))

    @pytest.mark.parametrize("raw", [b"\xff\xfe\x00", b"a: 2020-13-45", b"a: " + b"9" * 5000])
    def test_no_text_and_no_value(self, tmp_path: Path, raw: bytes) -> None:
        (tmp_path / "a.yaml").write_bytes(raw)
        with pytest.raises(OptionError, match="is no plain YAML"):
            read_tree(tmp_path / "a.yaml")


class TestSection:
    def section(self, **values: Any) -> Section:
        return Section({"group": values}).section("group")

    def test_values_come_back_checked(self) -> None:
        section = self.section(n=3, x=0.5, s="a", on=True, many=[1, 2], none=None)
        assert section.take("n", "int") == 3
        assert section.take("n", "number") == 3
        assert section.take("x", "number") == 0.5
        assert section.take("s", "text") == "a"
        assert section.take("on", "bool") is True
        assert section.take("many", "ints") == (1, 2)
        assert section.take("none", "int", 7) == 7
        assert section.take("absent", "texts", ()) == ()
        assert section.unknown() == ()

    def test_numbers_that_yaml_takes_for_text(self) -> None:
        assert self.section(lr="5e-5").take("lr", "number") == 5e-5

    @pytest.mark.parametrize(
        ("value", "kind", "told"),
        [
            (0.5, "int", "group.a is 0.5; it must be a whole number"),
            (True, "int", "group.a is True; it must be a whole number"),
            (True, "number", "group.a is True; it must be a number"),
            ("much", "number", "group.a is 'much'; it must be a number"),
            ("nan", "number", "group.a is nan; it must be a finite number"),
            (float("inf"), "number", "group.a is inf; it must be a finite number"),
            (1, "bool", "group.a is 1; it must be true or false"),
            (1, "text", "group.a is 1; it must be text"),
            (1, "ints", "group.a is 1; it must be a list"),
            ([1, "b"], "ints", "group.a is 'b'; it must be a whole number"),
            ({"b": 1}, "int", "it must be a whole number"),
        ],
    )
    def test_other_kinds_are_refused(self, value: Any, kind: str, told: str) -> None:
        with pytest.raises(OptionError, match=told):
            self.section(a=value).take("a", kind)

    def test_what_must_be_there(self) -> None:
        with pytest.raises(OptionError, match=r"group\.a is missing"):
            self.section().need("a", "int")
        with pytest.raises(OptionError, match=r"group\.a has 3 numbers; it must have 2"):
            self.section(a=[1, 2, 3]).numbers("a", 2)
        with pytest.raises(OptionError, match=r"group\.a is 0\.1; bimacosr has only 0"):
            self.section(a=0.1).fixed("a", "number", 0)
        with pytest.raises(OptionError, match=r"group\.a is 'os.system', which .* knows x, y"):
            self.section(a="os.system").choice("a", ("x", "y"))

    def test_groups(self) -> None:
        with pytest.raises(OptionError, match=r"group\.a is 3; it must be a group"):
            self.section(a=3).section("a")
        with pytest.raises(OptionError, match=r"group\.a\.1 is 3; it must be a group"):
            self.section(a=[{}, 3]).sections("a")
        with pytest.raises(OptionError, match=r"group\.a is 'text'; it must be a list"):
            self.section(a="text").sections("a")

    def test_what_nobody_took_is_unknown(self) -> None:
        top = Section({"a": 1, "b": {"c": 2, "d": 3}, "e": [{"f": 4}], "g": {"h": 5}})
        top.section("b").take("c", "int")
        top.sections("e")
        assert top.unknown() == ("a", "b.d", "e.0.f", "g")


class TestReferences:
    def top(self, **values: Any) -> Section:
        return Section(values)

    def test_they_are_followed(self) -> None:
        top = self.top(a={"b": "${c}"}, c="${d.e}", d={"e": 5}, many=["${c}", 6])
        assert top.section("a").take("b", "int") == 5
        assert top.take("many", "ints") == (5, 6)

    @pytest.mark.parametrize("target", ["x", "a.b.c", "d", "a"])
    def test_to_nothing_a_group_or_in_circles(self, target: str) -> None:
        top = self.top(a=f"${{{target}}}", d={"e": 1})
        with pytest.raises(OptionError, match="refers to no single setting"):
            top.take("a", "int")

    def test_text_around_them_stays_text(self) -> None:
        assert self.top(a="x${b}", b=1).take("a", "text") == "x${b}"
