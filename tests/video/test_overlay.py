import av
import numpy as np
import pytest
from PIL import Image
from scenes import scene

from mamp.cli import build_parser
from mamp.core.errors import UserError
from mamp.video.masks import PALETTE
from mamp.video.overlay import (
    OVERLAY_STYLES,
    Film,
    blend,
    colours,
    contact_sheet,
    contour,
    write_picture,
)


@pytest.mark.parametrize("style", OVERLAY_STYLES)
def test_the_command_line_knows_every_style(style):
    words = ["segment", "video", "--mask", "mask.png", "--out", "out", "--overlay-style", style]
    assert build_parser().parse_args(words).overlay_style == style


def test_background_is_left_alone_and_objects_take_their_colours():
    frame, labels = scene(0)
    for style in (blend, contour):
        picture = style(frame, labels)
        assert picture.dtype == np.uint8 and picture.shape == frame.shape
        np.testing.assert_array_equal(picture[labels == 0], frame[labels == 0])
    assert (blend(frame, labels)[labels == 2] != frame[labels == 2]).any(axis=-1).all()


def test_a_contour_lies_inside_the_objects_border():
    labels = np.zeros((40, 40), np.uint8)
    labels[10:30, 10:30] = 1
    line = (contour(np.zeros((40, 40, 3), np.uint8), labels, thickness=3) == PALETTE[1]).all(axis=-1)
    expected = labels.astype(bool)
    expected[13:27, 13:27] = False
    np.testing.assert_array_equal(line, expected)


def test_every_id_has_a_colour_that_is_not_black():
    ids = np.array([[0, 1, 254, 255, 256, 508, 65535]])
    picture = colours(ids)
    assert not picture[0, 0].any()
    assert picture[0, 1:].any(axis=-1).all()
    np.testing.assert_array_equal(picture[0, 3], PALETTE[1])


def test_a_film_of_odd_size_gets_an_even_one_and_keeps_every_frame(tmp_path):
    with Film(tmp_path / "odd.mp4", fps=29.97) as film:
        for t in range(7):
            film.write(scene(t, size=(25, 33))[0])
    with av.open(str(tmp_path / "odd.mp4")) as container:
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
        assert float(container.streams.video[0].average_rate) == pytest.approx(29.97, abs=0.01)
    assert len(frames) == 7 and frames[0].shape == (26, 34, 3)
    assert np.abs(frames[3][:25, :33].astype(int) - scene(3, size=(25, 33))[0]).mean() < 12


@pytest.mark.parametrize("written", [0, 2])
def test_a_film_that_fails_leaves_no_file(tmp_path, written):
    with pytest.raises(ZeroDivisionError), Film(tmp_path / "half.mp4") as film:
        for t in range(written):
            film.write(scene(t)[0])
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_a_film_must_be_an_mp4(tmp_path):
    with pytest.raises(UserError, match=r"film.gif is not an .mp4"):
        Film(tmp_path / "film.gif")


def test_a_contact_sheet_is_a_grid_on_white(tmp_path):
    pictures = [np.full((20, 40, 3), 10 * n, np.uint8) for n in range(5)]
    sheet = contact_sheet(pictures, columns=3, width=80, gap=2)
    assert sheet.shape == (2 * 40 + 2, 3 * 80 + 2 * 2, 3)
    assert (sheet[:40, 82:162] == 10).all() and (sheet[42:, :80] == 30).all()
    assert (sheet[42:, 164:] == 255).all()
    write_picture(tmp_path / "new" / "sheet.png", sheet)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "new" / "sheet.png")), sheet)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["sheet.png"]


@pytest.mark.parametrize("size", [(1, 20000), (20000, 1), (2, 17000)])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_film_of_frames_that_its_codec_cannot_hold_is_refused(tmp_path, size, suffix):
    path = tmp_path / f"film{suffix}"
    with (
        pytest.raises(UserError, match=f"film .*{suffix} cannot hold frames of {size[1]}x{size[0]}"),
        Film(path) as film,
    ):
        film.write(np.zeros((*size, 3), np.uint8))
    assert not list(tmp_path.iterdir())
