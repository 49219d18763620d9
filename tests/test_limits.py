"""The limits that the security policy states."""

import re
from pathlib import Path

from latentedit.agents import history
from latentedit.batch import folder, manifest
from latentedit.cli.program import FAULT
from latentedit.core import errors, setting
from latentedit.core.files import MAX_DOCUMENT_BYTES
from latentedit.editing import outputs
from latentedit.encoding.captions.change import MAX_LETTERS
from latentedit.keeping import pairs
from latentedit.models import model_settings
from latentedit.numerics import tensor_files
from latentedit.page import edit_visit
from latentedit.page.page import MAX_UPLOAD_BYTES
from latentedit.page.visit import MAX_KEPT_PIXELS
from latentedit.photo import containers, images, saving, xmp


def test_the_limits_of_the_security_policy_agree_with_the_code() -> None:
    """Every number with a unit in the policy is listed here."""
    policy = " ".join(Path(".github/SECURITY.md").read_text(encoding="utf-8").split())
    mega, giga = 10**6, 10**9
    limits = [
        f"at most {images.MAX_PIXELS // mega} megapixels, {images.MAX_SIDE_PX:,} px a side",
        f"and {images.MAX_IMAGE_BYTES // giga} GB. Messages",
        f"a record of at most {saving.MAX_RECORD_BYTES // mega} MB",
        f"of at most {saving.MAX_PAYLOAD_BYTES // mega} MB",
        f"profiles of more than {containers._MOST_INFLATED_BYTES // mega} MB",
        f"at most {xmp.MOST_BYTES // mega} MB and {xmp.MOST_NODES:,} elements",
        f"safetensors of at most {tensor_files.MAX_BYTES // mega} MB",
        f"a header of at most {tensor_files.MAX_HEADER_BYTES // mega} MB",
        f"at most {MAX_LETTERS:,} characters",
        f"at most {setting.MAX_COUNT:,} steps, {setting.MAX_STRENGTHS} strengths",
        f"at most {MAX_DOCUMENT_BYTES // mega} MB, next to an image {outputs._MAX_JSON_BYTES // mega} MB",
        f"at most {folder._MOST_BYTES // mega} MB for each file",
        f"at most {manifest.MAX_BYTES // mega} MB; YAML",
        f"files of at most {MAX_UPLOAD_BYTES // mega} MB",
        f"images of at most {edit_visit.MAX_PIXELS // mega} megapixels to edit",
        f"{MAX_KEPT_PIXELS // mega} megapixels to compare",
        f"a refusal has at most {errors._MESSAGE:,} characters",
        f"texts of at most {history._MAXIMUM_LETTERS} characters",
        f"Images of the model have at most {model_settings.MAX_SIDE_PX:,} px a side",
        f"a crash exits with {FAULT}",
        "Memory of one edit at 100 megapixels: about 2.3 GB",  # measured
    ]
    for limit in limits:
        assert limit in policy
        policy = policy.replace(limit, "", 1)
    assert re.findall(r"[\d.,]+ (?:[KMG]B|bytes|megapixels|px|rows|characters|steps|strengths)", policy) == []
    assert pairs._MOST_LIST_BYTES == manifest.MAX_BYTES
    kinds = {"two": 2, "three": 3, "four": 4, "five": 5}
    assert kinds[re.findall(r"fixed tensor names, (\w+) types", policy)[0]] == len(tensor_files._DTYPES)
