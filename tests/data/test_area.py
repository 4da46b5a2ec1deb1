import cv2
import numpy as np
import pytest

from mlbench.data.area import shrink_window


@pytest.mark.parametrize("size", [(375, 500), (500, 333), (257, 257), (683, 1024), (258, 1500)])
def test_window_is_that_of_opencv(size: tuple[int, int]) -> None:
    """The window equals the same window of OpenCV's INTER_AREA, computed in float32."""
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    height, width = 256 * size[0] // min(size), 256 * size[1] // min(size)
    top, left = (height - 224) // 2, (width - 224) // 2
    whole = cv2.resize(image.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    window = shrink_window(image, (height, width), (top, left), 224)
    expected = whole[top : top + 224, left : left + 224]
    np.testing.assert_allclose(window, expected, atol=1e-3)


def test_window_at_the_edges() -> None:
    """The window may reach the image's last pixels, and a flat image stays flat."""
    image = np.full((100, 90, 3), 200, np.uint8)
    np.testing.assert_allclose(shrink_window(image, (64, 64), (0, 0), 64), 200, rtol=1e-6)
