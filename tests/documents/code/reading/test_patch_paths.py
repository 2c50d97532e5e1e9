"""Where the files of a diff lie, whatever prefixes the command put before them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.documents.code.reading.patch_paths import paths_of
from pipelines.documents.code.reading.unified import read_unified

HUNK = "@@ -1 +1 @@\n-a\n+b\n"


def paths(text: str) -> list[tuple[str | None, str | None]]:
    return [(each.old, each.new) for each in paths_of(read_unified(text.split("\n")).files)]


def same(*names: str) -> list[tuple[str, str]]:
    return [(name, name) for name in names]


def git(old: str, new: str, hunk: str = HUNK) -> str:
    tab = "\t" if " " in old else ""
    return f"diff --git {old} {new}\nindex 1..2 100644\n--- {old}{tab}\n+++ {new}{tab}\n{hunk}"


def plain(old: str, new: str, hunk: str = HUNK) -> str:
    return f"diff -ruN {old} {new}\n--- {old}\t2026-01-02 10:00:00.000000000 +0100\n+++ {new}\t2026-01-03 10:00\n{hunk}"


@pytest.mark.parametrize(
    ("old", "new"),
    [("a/", "b/"), ("i/", "w/"), ("c/", "i/"), ("c/", "w/"), ("o/", "w/"), ("1/", "2/"), ("b/", "a/"), ("", ""),
     ("old/", "new/"), ("orig/src/", "new/lib/"), ("", "b/"), ("v 1/", "v 2/"), ("old-", "new-")],
)  # fmt: skip
def test_a_prefix_is_what_both_sides_have_besides_the_same_path(old: str, new: str) -> None:
    names = ("c/price.py", "src/price.py", "with space.py", "b/a/x.py", "mode me.sh", "logo one.dat")
    text = "".join(git(f"{old}{name}", f"{new}{name}") for name in names[:4])
    text += f"diff --git {old}{names[4]} {new}{names[4]}\nold mode 100644\nnew mode 100755\n"
    text += f"diff --git {old}{names[5]} {new}{names[5]}\nindex 1..2 100644\n"
    text += f"Binary files {old}{names[5]} and {new}{names[5]} differ\n"
    text += f"diff --git {old}n w.py {new}n w.py\nnew file mode 100644\n--- /dev/null\n+++ {new}n w.py\t\n"
    text += f"@@ -0,0 +1 @@\n+b\ndiff --git {old}m.py {new}x/m.py\nrename from m.py\nrename to x/m.py\n"
    assert paths(text) == [*same(*names), (None, "n w.py"), ("m.py", "x/m.py")]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (git("c/price.py", "c/price.py"), "c/price.py"),
        (git("old/src/price.py", "new/src/price.py"), "src/price.py"),
        (git("i/with space.py", "w/with space.py"), "with space.py"),
        (git("i/with space.py", "w/with space.py").replace("\t", ""), "with space.py"),
        (git("i/with space.py", "w/with space.py").replace("\t", "    "), "with space.py"),
        (git('"a/\\303\\244 \\"q.py"', '"b/\\303\\244 \\"q.py"'), 'ä "q.py'),
        (git('"old/\\303\\244.py"', '"new/\\303\\244.py"'), "ä.py"),
        ('diff --git "a/\\303\\244.sh" "b/\\303\\244.sh"\nold mode 100644\nnew mode 100755\n', "ä.sh"),
        ("diff --git a/x x b/x x\nold mode 100644\nnew mode 100755\n", "x x"),
        ("diff --git x x x x\nold mode 100644\nnew mode 100755\n", "x x"),
        (plain("orig/src/a.py", "new/src/a.py"), "src/a.py"),
        (plain("proj-1.0/a b.py", "proj-1.1/a b.py"), "a b.py"),
        (plain("/tmp/orig/a.py", "/tmp/new/a.py"), "a.py"),
        (plain("../orig/src/a.py", "./src/a.py"), "src/a.py"),
        (plain("./src/a.py", "./src/a.py"), "src/a.py"),
        (plain("orig//src/a.py", "new//src/a.py"), "src/a.py"),
        (plain("orig\\src\\a.py", "new\\src\\a.py"), "src/a.py"),
        (plain("orig/a.py", "new/a.py").replace("\t", "        "), "a.py"),
        ("--- src/a.py    (revision 3)\n+++ src/a.py    (working copy)\n" + HUNK, "src/a.py"),
        ("--- a/src/a.py Thu Jan 01 10:00:00 2026 +0000\n+++ b/src/a.py Fri Jan 02 10:00:00 2026\n" + HUNK, "src/a.py"),
        (plain("a.py.orig", "a.py"), "a.py"),
        (plain("src/a.py", "src/a.py.new"), "src/a.py"),
        (plain("src/a.py~", "src/a.py"), "src/a.py"),
        ("Index: proj/a.py\n=====\n--- proj.orig/a.py\t2026-01-02\n+++ proj/a.py\t2026-01-03\n" + HUNK, "a.py"),
        ("Index: src/a.py\n=====\n--- src/a.py\t(revision 3)\n+++ src/a.py\t(working copy)\n" + HUNK, "src/a.py"),
        ("diff -r 0123 src/a.py\n--- a/src/a.py\tThu Jan 01\n+++ b/src/a.py\tFri Jan 02\n" + HUNK, "src/a.py"),
        ("Binary files orig/x and y/l.dat and new/x and y/l.dat differ\n", "x and y/l.dat"),
    ],
)  # fmt: skip
def test_the_path_of_one_file(text: str, path: str) -> None:
    assert paths(text) == same(path)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("--- /dev/null\n+++ b/a.py\n@@ -0,0 +1 @@\n+b\n", [(None, "a.py")]),
        ("--- /dev/null\n+++ c/a.py\n@@ -0,0 +1 @@\n+b\n", [(None, "c/a.py")]),
        ("--- a/a.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-b\n", [("a.py", None)]),
        ("--- /dev/null\n+++ b/a.py\n@@ -0,0 +1 @@\n+b\n" + plain("b/x.py", "b/x.py"),
         [(None, "b/a.py"), *same("b/x.py")]),
        ("--- /dev/null\n+++ new/a.py\n@@ -0,0 +1 @@\n+b\n" + plain("old/x.py", "new/x.py"),
         [(None, "a.py"), *same("x.py")]),
        (plain("orig/a.py", "new/a.py", "@@ -0,0 +1 @@\n+b\n"), [(None, "a.py")]),
        (plain("orig/a.py", "new/a.py", "@@ -1 +0,0 @@\n-b\n"), [("a.py", None)]),
        (git("a/src/x.py", "b/lib/x.py"), [("src/x.py", "lib/x.py")]),  # git diff --no-index, which tells of no move
        (plain("old.py", "new.py"), [("old.py", "new.py")]),
        (plain("orig/x.py", "new/x.py") + git("a/c.py", "b/c.py") + git("o.py", "o.py"), same("x.py", "c.py", "o.py")),
    ],
)  # fmt: skip
def test_where_one_side_says_less_the_whole_diff_decides(text: str, found: list[tuple[str | None, str | None]]) -> None:
    assert paths(text) == found


names = st.text("abciow/. x", min_size=1, max_size=12).filter(
    lambda name: "//" not in name and not name.startswith((" ", "/", ".")) and not name.endswith((" ", "/", "."))
)
prefixes = st.sampled_from([("a/", "b/"), ("i/", "w/"), ("", ""), ("old/", "new/"), ("a/b/", "c/"), ("x y/", "z/")])


@given(st.lists(names, min_size=1, max_size=5, unique=True), prefixes)
def test_what_git_was_given_comes_back(given_paths: list[str], pair: tuple[str, str]) -> None:
    text = "".join(git(f"{pair[0]}{path}", f"{pair[1]}{path}") for path in given_paths)
    assert paths(text) == same(*given_paths)


def test_a_line_of_many_names_takes_no_time() -> None:
    line = "diff --git " + " /b" * 2_900 + "\nold mode 100644\nnew mode 100755\n"
    assert len(paths(line * 20)) == 20
