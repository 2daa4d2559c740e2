"""An edit finds its place by the shape of the code, or says why it does not."""

import re

import pytest

from anchors import AnchorError, Edit, edited
from renaming import assert_names_do_not_matter, rotated, unheard_of, with_other_locals

TEXT = '''\
import math

SCALE = 2


def area(width: float, height: float) -> float:
    """Of a rectangle."""
    size = width * height  # (box.1)
    other = height * width  # (box.2)
    return SCALE * size + other


class Box:
    def __init__(self, side: float) -> None:
        self.side = side

    def volume(self) -> float:
        try:
            root = math.sqrt(self.side)
        except ValueError as error:
            raise TypeError(f"{self.side} — {error}") from error
        if root > 1:
            root = root - 1
            return root
        return root
'''


def changed(*edit: str, **more: str) -> list[tuple[str, str]]:
    """The lines that an edit changes, before and after."""
    lines = edited(TEXT, [Edit(*edit, **more)], "box.py").splitlines()
    pairs = zip(TEXT.splitlines(), lines, strict=True)
    return [(was.strip(), now.strip()) for was, now in pairs if was != now]


def refusal(*edit: str, **more: str) -> str:
    with pytest.raises(AnchorError) as refused:
        edited(TEXT, [Edit(*edit, **more)], "box.py")
    return str(refused.value)


def test_a_place_is_found_under_other_names_and_only_it_is_changed() -> None:
    assert changed("area", "a * b", "a + b", label="box.1") == [
        ("size = width * height  # (box.1)", "size = (width + height)  # (box.1)")
    ]
    assert changed("Box.volume", "x = x - 1", "x = x + 1") == [
        ("root = root - 1", "root = root + 1")
    ]


def test_a_name_is_one_variable_and_two_names_are_two() -> None:
    assert "has the shape of: a * a" in refusal("area", "a * a", "a")
    assert "has the shape of: a = b - 1" in refusal("Box.volume", "a = b - 1", "a = b")
    tied = refusal("area", "return _ + a", "return a", given="b = a * c\nreturn SCALE * a + _")
    assert tied == "box.py, area has the shape of: return _ + a, but not with what is given"


def test_what_is_given_says_which_variables_are_meant() -> None:
    given = "size = a * b\nreturn SCALE * size + other"
    assert changed("area", "size = a * b", "size = a - b", given=given) == [
        ("size = width * height  # (box.1)", "size = width - height  # (box.1)")
    ]


def test_globals_attributes_constants_operators_and_calls_count_as_written() -> None:
    for shape in (
        "SCALE + b",  # a global is no local
        "math.sqrt(self.side)",  # which stands elsewhere
        "size - other",
    ):
        assert "nothing in box.py, area has the shape of" in refusal("area", shape, "1")
    for shape in ("math.cbrt(self.side)", "root > 2", "root >= 1", "self.edge", "root > True"):
        assert "nothing in box.py, Box.volume" in refusal("Box.volume", shape, "1")
    assert changed("Box.volume", "math.sqrt(box.side)", "box.side") == [
        ("root = math.sqrt(self.side)", "root = (self.side)")
    ]


def test_a_wildcard_stands_for_any_expression_and_is_put_back() -> None:
    assert changed("area", "SCALE * _ + b", "_ + b") == [
        ("return SCALE * size + other", "return (size + other)")
    ]
    assert changed("Box.volume", "raise _ from _1", "raise _") == [
        (
            'raise TypeError(f"{self.side} — {error}") from error',
            "raise TypeError(f'{self.side} — {error}')",
        )
    ]
    assert "nothing in box.py, area" in refusal("area", "_ + _", "_")


def test_what_takes_the_place_of_an_expression_is_one_operand() -> None:
    text = edited("def f(a):\n    return a.real * 2\n", [Edit("f", "x.real", "x + 1")])
    assert text == "def f(a):\n    return (a + 1) * 2\n"


def test_statements_are_replaced_and_left_out_at_their_indent() -> None:
    text = "def f(a):\n    if a:\n        print(a)  # à\n    return a\n"
    assert edited(text, [Edit("f", "print(x)", "")]) == text.replace("print(a)", "pass")
    two = edited(text, [Edit("f", "print(x)", "y = x\nprint(y)")])
    assert two == text.replace("print(a)", "y = a\n        print(y)")


def test_a_new_variable_gets_a_free_name() -> None:
    text = "def f(a, new):\n    return a + new\n"
    edit = Edit("f", "return a + b", "new = b\nreturn a + new")
    assert edited(text, [edit]) == "def f(a, new):\n    new_ = new\n    return a + new_\n"


def test_the_message_says_what_stands_in_the_way() -> None:
    assert refusal("areas", "a", "b") == (
        "box.py has no function areas; it has area, Box.__init__, Box.volume"
    )
    assert refusal("area", "a - b", "a") == "nothing in box.py, area has the shape of: a - b"
    assert refusal("area", "a * b", "b", label="box.3") == (
        "nothing in box.py, area beside (box.3) has the shape of: a * b"
    )
    assert refusal("area", "a * b", "a") == (
        "a * b fits box.py, area in 2 places (line 8: width * height; line 9: height * width): "
        "add `given` or a label"
    )
    assert refusal("area", "a * b", "a + c", label="box.1") == (
        "box.py, area: which variable is c? neither `was` nor `given` has it: a + c"
    )
    assert refusal("Box.volume", "return a", "a = 1\nreturn a", given="a = a - 1") == (
        "return a fits box.py, Box.volume in 2 places "
        "(line 24: return root; line 25: return root): add `given` or a label"
    )
    assert refusal("area", "return _", "total = 1\nreturn _") == (
        "box.py, area: the new variable total is not read; `given` may say which it is: "
        "total = 1\nreturn _"
    )


def test_variables_that_fit_in_two_ways_are_refused() -> None:
    assert "in 2 ways" in refusal("area", "return _", "return x", given="x * y")


def test_two_edits_of_one_place_are_refused() -> None:
    edits = [Edit("Box.volume", "x - 1", "x"), Edit("Box.volume", "x = x - 1", "x = x")]
    with pytest.raises(AnchorError, match="two edits change the same place"):
        edited(TEXT, edits)


def test_no_edit_leaves_the_text_as_it_is() -> None:
    assert edited(TEXT, []) == TEXT


def test_an_edit_that_goes_by_a_name_is_seen() -> None:
    """`input` is a builtin: in a pattern it stands for itself, so that a rename loses the place."""
    text = "def f(input):\n    return input + 1\n"
    with pytest.raises(AssertionError, match="has the shape of: input"):
        assert_names_do_not_matter(text, [Edit("f", "input + 1", "2")])
    assert_names_do_not_matter(text, [Edit("f", "x + 1", "2")])


def test_every_local_is_renamed_and_nothing_else() -> None:
    other = with_other_locals(TEXT, unheard_of)
    was, now = (set(re.findall(r"[A-Za-z_]\w*", text)) for text in (TEXT, other))
    assert was - now == {"width", "height", "size", "other", "self", "root", "error"}
    assert now - was == {f"local{k}" for k in range(4)}
    assert other.count("# (box.1)") == 1
    turned = with_other_locals("def f(a, b):\n    return a - b\n", rotated)
    assert turned == "def f(b, a):\n    return b - a\n"
