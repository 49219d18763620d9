#!/bin/sh
# OpenCV's graph cut for seams minimizes squared differences, and by default avoids what only one image covers.
#
# Asked: two images that overlap in a band, whose colors differ by 0 to 29 levels in one channel; the seam of
# detail.GraphCutSeamFinder("COST_COLOR"), and the least that any seam can cost, from SciPy's maximum flow.
# Expected: the minimum of the differences along the seam, as in the paper on graph cuts for textures, whatever the other arguments.
# Seen (OpenCV 5.0.0, SciPy 1.17.1): with the defaults the seam is the minimum of neither differences nor their squares: every pair of
# pixels of which one is covered by one image alone costs 1,000 more, and a pixel that must stay with its image can be
# taken for 10,000. With 1e6 and 0 for these two, it is exactly the minimum of the squared differences, plus 1 a pair.
# Hurt: those who find seams in 8-bit levels or in bands some pixels wide: single strong differences count as much as hundreds of
# weak ones, the seam keeps away from the border of the band, and costs on a scale of 255 squared outweigh what is fixed.
# Met when seams of composites were built on it, taking it for the paper's cost. Fails if that changes.
# One run from a bare environment: 8 s of processor time, 90 MB.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
"$folder/venv/bin/python" -m pip install --quiet --no-compile numpy==2.4.6 scipy==1.17.1 opencv-python-headless==5.0.0.93
"$folder/venv/bin/python" - <<'PY'
import cv2
import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import maximum_flow

HEIGHT, WIDTH = 24, 30
sure = np.zeros((HEIGHT, WIDTH), dtype=bool)  # only the second image
sure[9:14, 10:17] = True
band = np.zeros_like(sure)
band[3:21, 4:25] = True
band &= ~sure
PAIRS = [(np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])]


def seam(apart, *options):
    plane = apart.astype(np.float32)
    images = [np.dstack([plane, 0 * plane, 0 * plane]), np.zeros((HEIGHT, WIDTH, 3), np.float32)]
    masks = [(255 * part).astype(np.uint8) for part in (~sure, sure | band)]
    found = cv2.detail.GraphCutSeamFinder("COST_COLOR", *options).find(images, [(0, 0), (0, 0)], masks)[1]
    return (found.get() if isinstance(found, cv2.UMat) else found) > 0


def cost(second, apart):
    return sum(int((apart[a] + apart[b] + 1)[second[a] != second[b]].sum()) for a, b in PAIRS)


def least(apart):
    at = np.arange(sure.size).reshape(sure.shape)
    first, other = (np.concatenate([at[pair[end]].ravel() for pair in PAIRS]) for end in (0, 1))
    prices = np.concatenate([(apart[a] + apart[b] + 1).ravel() for a, b in PAIRS])
    outer = at[~(sure | band)]
    rows = np.concatenate([first, other, np.full(sure.sum(), sure.size), outer])
    columns = np.concatenate([other, first, at[sure], np.full(len(outer), sure.size + 1)])
    values = np.concatenate([prices, prices, np.full(sure.sum() + len(outer), 10**8)]).astype(np.int32)
    graph = coo_matrix((values, (rows, columns)), shape=(sure.size + 2,) * 2).tocsr()
    return maximum_flow(graph, sure.size, sure.size + 1).flow_value


print(f"OpenCV {cv2.__version__}; cost of the seam over the least possible, five pairs of images")
ratios = {}
for name, options in (("defaults", ()), ("1e6, 0", (1e6, 0.0))):
    for power in (1, 2):
        ratios[name, power] = []
        for seed in range(5):
            apart = np.random.default_rng(seed).integers(0, 30, sure.shape)
            ratios[name, power].append(cost(seam(apart, *options), apart**power) / least(apart**power))
        print(f"{name}: differences to the power {power}: {' '.join(f'{ratio:.3f}' for ratio in ratios[name, power])}")
exact = [ratio == 1 for ratio in ratios["1e6, 0", 2]]
raise SystemExit(not (all(exact) and min(ratios["defaults", 1]) > 1.1 and max(ratios["defaults", 2]) > 1.1))
PY
