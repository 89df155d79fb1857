"""Design section 4, "Structure": what becomes of a tree that is hurt. The server's order is the order of the remote text."""

import pytest

from tests.trees import plan_text, planned, trees

T = "(conflict 1970-01-01 00-00-00 pc)"
ROWS = {
    # name: base, local, remote, plan, and who placed what, what was deleted
    # Two entries at one place.
    "two files: the later takes the conflict name": (
        *("", "", "f:a=1 g:a=2"),
        f"make f:a=1; make g:a {T}=2; send g:a {T}=2 repair",
    ),
    "two files, the later one is ours to mend": (
        *("", "", "f:a=1 g:a=2", f"make f:a=1; make g:a {T}=2; send g:a {T}=2"),
        {"mine": "g"},
    ),
    "equal files become one": ("", "", "f:a=1 g:a=1", "make f:a=1; delete g repair"),
    "equal links become one": ("", "", "f:a>x g:a>x", "make f:a>x; delete g repair"),
    "different links do not": (
        "",
        "",
        "f:a>x g:a>y",
        "make f:a>x; make g:a (conflict g)>y; send g:a (conflict g)>y repair",
    ),
    "what is not sent comes after what is": (
        *("", "f:a=1", "g:a=2"),
        f"move f a {T}; make g:a=2; send f:a {T}=1",
    ),
    "our equal file is theirs": ("", "f:a=1", "g:a=1", "rekey f g"),
    "our equal file is theirs, which we deleted": ("g:a=1", "f:a=1", "g:a=1*", "remove f; make g:a=1*"),
    "ours holds something older: it does not become theirs": (
        *("g:b=0", "g:b=0", "f:a=1 g:a=1"),
        "make f:a=1; remove g; delete g repair",
    ),
    "our unread file waits": ("", "f:a=?", "g:a=1", "waiting f; waiting g"),
    "our equal file is theirs, and the server has both: somebody may edit one of them now": (
        *("g:c=1", "f:b=1", "f:b=1 g:b=1", "delete g repair; agreed f"),
        {"mine": "g"},
    ),
    "our directory is theirs": ("", "d:x/ f:x/a=1", "e:x/ g:x/b=2", "rekey d e"),
    "two directories become one": (
        *("", "", "d:x/ f:x/a=1 e:x/ g:@e/b=2"),
        "make d:x/; make f:@d/a=1; make g:@d/b=2; send g:@d/b=2 repair; delete e repair",
    ),
    "two directories that are both here become one": (
        *("d:x/ e:y/ g:y/b=2", "d:x/ e:y/ g:y/b=2", "d:x/ e:x/ g:@e/b=2"),
        "move g @d/b; remove e; send g:@d/b=2 repair; delete e repair; agreed d",
    ),
    "directories in directories that become one do too": (
        *("", "", "d:x/ e:x/y/ f:@e/a=1 k:x/ m:@k/y/ n:@m/a=1 o:@m/b=2"),
        "make d:x/; make e:@d/y/; make f:@e/a=1; make o:@e/b=2; "
        "send o:@e/b=2 repair; delete n repair; delete m repair; delete k repair",
    ),
    "and may meet two that met already": (
        *("", "", "d:x/ b:x/a=1 c:@d/a=2 e:x/ g:@e/a=3"),
        f"make d:x/; make g:@d/a (conflict 1970-01-01 00-00-00 g-pc)=3; make b:@d/a=1; make c:@d/a {T}=2; "
        f"send c:@d/a {T}=2 repair; send g:@d/a (conflict 1970-01-01 00-00-00 g-pc)=3 repair; delete e repair",
    ),
    "a directory beside a file": (
        *("", "", "f:a=1 d:a/ g:@d/b=2"),
        "make d:a (conflict d)/; make f:a=1; make g:@d/b=2; send d:a (conflict d)/ repair",
    ),
    "a file beside a directory": ("", "", "d:a/ f:a=1", f"make d:a/; make f:a {T}=1; send f:a {T}=1 repair"),
    "of many, those alike become one": (
        *("", "", "d:a/ f:a=1 e:a/ g:a=1 l:a>x"),
        f"make d:a/; make f:a {T}=1; make l:a (conflict l)>x; "
        f"send f:a {T}=1 repair; send l:a (conflict l)>x repair; delete g repair; delete e repair",
    ),
    "two of one moment show their keys": (
        *("", "", "f:a=1 g:a=2 h:a=3"),
        f"make f:a=1; make g:a {T}=2; make h:a (conflict 1970-01-01 00-00-00 h-pc)=3; "
        f"send g:a {T}=2 repair; send h:a (conflict 1970-01-01 00-00-00 h-pc)=3 repair",
    ),
    "our content is kept aside before two become one": (
        *("", "g:b=9", "f:a=1 g:a=1"),
        f"conflict g:b=1 'b {T}'; make f:a=1; waiting g",
    ),
    "moved on top of each other": (
        *("f:a=1 g:b=2", "f:c=1 g:b=2", "f:a=1 g:c=2"),
        f"move f c {T}; move g c; send f:c {T}=1",
    ),
    "moved here and renamed there onto a third": (
        *("d:d/ f:a=1", "d:d/ f:d/a=1", "d:d/ f:b=1 g:d/b=2"),
        f"move f @d/b {T}; make g:@d/b=2; send f:@d/b {T}=1; agreed d",
    ),
    "a name that would be ours at the top": (
        *("d:d/ f:d/a=1", "d:d/ f:a=1", "d:d/ f:d/.ssyncd=1"),
        f"move f .ssyncd {T}; send f:.ssyncd {T}=1; agreed d",
    ),
    # Rings.
    "our move makes the ring: it goes back": ("a:a/ b:b/", "b:b/ a:b/a/", "a:a/ b:a/b/", "move a a; move b @a/b"),
    "the move that came later goes back": (
        "a:a/ b:b/",
        "a:a/ b:b/",
        "a:@b/a/ b:@a/b/",
        "move a @b/a; send b:b/ repair",
    ),
    "our later move goes back, and we say so": (
        *("a:a/ b:b/", "b:b/ a:b/a/", "b:@a/b/ a:@b/a/", "move a a; move b @a/b; send a:a/"),
        {"mine": "a"},
    ),
    "where it was is not known: to the top": (
        *("", "", "a:@b/a/ b:@a/b/"),
        "make b:b/; make a:@b/a/; send b:b/ repair",
    ),
    "where it was is inside the ring: to the top": (
        *("a:a/ b:a/b/", "a:a/ b:a/b/", "a:@b/a/ b:@a/b/"),
        "move b b; move a @b/a; send b:b/ repair",
    ),
    "a directory in itself": ("", "", "a:@a/a/ f:@a/f=1", "make a:a/; make f:@a/f=1; send a:a/ repair"),
    "a ring found from what is inside": (
        *("", "", "a:@b/a/ b:@a/b/ f:@a/f=1"),
        "make b:b/; make a:@b/a/; make f:@a/f=1; send b:b/ repair",
    ),
    "a ring of the dead": (
        *("", "", "f:@a/f=1", "make b:b/; make a:@b/a/; make f:@a/f=1; send b:b/ repair; send a:@b/a/ repair"),
        {"tombs": "a:@b/a/ b:@a/b/"},
    ),
    "goes back to where another directory is by now": (
        *("a:a/ b:b/", "a:a/ b:b/", "c:b/ a:@b/a/ b:@a/b/"),
        "remove b; make c:b/; move a @c/a; send a:@c/a/ repair; delete b repair",
    ),
    "takes the place of one that is new here, which moves on": (
        *("c:c/ b:c/b/", "c:c/ b:c/b/", "n:a/ c:a/ b:@c/b/"),
        "make n:a/; move b @n/b; remove c; send b:@n/b/ repair; delete c repair",
    ),
    "goes back to where a file is by now": (
        *("a:a/ b:b/", "a:a/ b:b/", "c:b=1 a:@b/a/ b:@a/b/"),
        "move a @b/a; move b b (conflict b); make c:b=1; send b:b (conflict b)/ repair",
    ),
    # Orphans.
    "new here in a directory deleted there": (
        *("d:d/ f:d/a=1", "d:d/ f:d/a=1 g:d/b=2", ""),
        "remove f; send d:d/; send g:@d/b=2",
    ),
    "edited here in a directory deleted there": (
        *("d:d/ f:d/a=1 g:d/b=2", "d:d/ f:d/a=3 g:d/b=2", ""),
        "remove g; send d:d/; send f:@d/a=3",
    ),
    "new there in a directory deleted here": (
        *("d:d/ f:d/a=1", "", "d:d/ f:d/a=1 g:d/b=2"),
        "make d:d/; make g:@d/b=2; delete f",
    ),
    "moved there into a directory deleted here": (
        *("d:d/ f:a=1", "f:a=1", "d:d/ f:d/a=1"),
        "make d:d/; move f @d/a",
    ),
    "deep inside": (
        *("d:d/ e:d/e/ f:d/e/f/", "d:d/ e:d/e/ f:d/e/f/ g:d/e/f/a=1", ""),
        "send d:d/; send e:@d/e/; send f:@e/f/; send g:@f/a=1",
    ),
    "not read yet: nobody is told": ("d:d/ f:d/a=1", "d:d/ f:d/a=?", "", "waiting d"),
    "not read yet, deep inside": (
        "c:c/ d:c/d/ e:@d/e/ f:@e/a=1",
        "c:c/ d:c/d/ e:@d/e/ f:@e/a=?",
        "",
        "waiting e; waiting d; waiting c",
    ),
    "not read yet, deep inside, beside something new": (
        *("c:c/ d:c/d/ e:@d/e/ f:@e/a=1", "c:c/ d:c/d/ e:@d/e/ f:@e/a=? g:@d/b=2", ""),
        "send c:c/; send d:@c/d/; send g:@d/b=2; waiting e",
    ),
    "read, but something new beside it": (
        *("d:d/ f:d/a=1", "d:d/ f:d/a=? g:d/b=2", ""),
        "send d:d/; send g:@d/b=2",
    ),
    "deleted by both, found again by a third": (
        *("", "", "f:@d/a=1", "make d:d/; make f:@d/a=1; send d:d/ repair"),
        {"tombs": "d:d/"},
    ),
    "the third is us": ("d:d/", "", "f:@d/a=1", "make d:d/; make f:@d/a=1; send d:d/", {"mine": "f"}),
    "comes back where somebody else is": (
        *("", "", "f:d=1 g:@d/a=2", "make f:d=1; make d:d (conflict d)/; make g:@d/a=2; send d:d (conflict d)/ repair"),
        {"tombs": "d:d/"},
    ),
    "comes back where another directory is": (
        *("", "", "e:d/ g:@d/a=2", "make e:d/; make g:@e/a=2; send g:@e/a=2 repair"),
        {"tombs": "d:d/"},
    ),
    "a directory nobody knows": ("", "", "f:@d/a=1", "waiting f"),
    "in a directory nobody knows": ("", "", "e:@d/e/ f:e/f=1".replace("f:e", "f:@e"), "waiting e; waiting f"),
    "in a file": ("", "", "f:f=1 g:@f/a=1", "make f:f=1; waiting g"),
    "the dead one was a file": ("", "", "g:@f/a=1", "waiting g", {"tombs": "f:f=1"}),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_hurt_trees_are_mended(row):
    base, local, remote, expected, *more = row
    assert plan_text(planned(trees(base, local, remote, **(more[0] if more else {})))) == expected
