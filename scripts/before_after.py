"""Draw the picture of the README: part of the sample photo, bicubic and by the default model.

python scripts/before_after.py docs/images/before-after.png
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

import bimacosr

SAMPLE = Path(__file__).parent.parent / "examples" / "mountain.jpg"
CROP = (300, 330, 780, 690)  # of the enlarged picture
GAP = 6


def main() -> None:
    """Write the picture to the path that was given."""
    with Image.open(SAMPLE) as sample:
        small = sample.convert("RGB")
    ours = bimacosr.load()(small)
    bicubic = small.resize(ours.size, Image.Resampling.BICUBIC)
    left, top, right, bottom = CROP
    sheet = Image.new("RGB", (2 * (right - left) + GAP, bottom - top), "white")
    sheet.paste(bicubic.crop(CROP), (0, 0))
    sheet.paste(ours.crop(CROP), (right - left + GAP, 0))
    sheet.save(sys.argv[1], optimize=True)


if __name__ == "__main__":
    main()
