"""Masks of still pictures as one kind of label map."""

import numpy as np

from mamp.data.static import unified_labels


def coloured(*colours):
    return np.array([colours], np.uint8)


def test_colours_are_numbered_by_blue_then_green_then_red():
    mask = coloured((0, 0, 0), (255, 200, 100), (200, 100, 250), (0, 0, 0))
    assert unified_labels(mask).tolist() == [[0, 1, 2, 0]]


def test_a_dark_colour_is_background_and_uses_no_number():
    assert unified_labels(coloured((0, 0, 0), (20, 20, 20), (255, 255, 255))).tolist() == [[0, 0, 1]]


def test_without_black_the_first_colour_is_background():
    assert unified_labels(coloured((255, 255, 200), (255, 255, 255))).tolist() == [[0, 1]]
