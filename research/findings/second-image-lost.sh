#!/bin/sh
# Signing an HDR photograph, or writing its author, leaves the index of its images pointing at the wrong bytes.
#
# Asked: after c2pa-python has signed an Ultra HDR JPEG, or exiv2 has written an author into it, does its index of images (MPF)
# still point at the gain map?
# Expected: yes; offsets count from the index itself, and metadata goes in front of it.
# Seen (c2pa-python 0.38.1, pyexiv2 2.16.0, imagecodecs 2026.3.6, Pillow 12.3.0): libultrahdr, the encoder of Android, puts the
# index before JFIF. Both tools insert behind JFIF, hence behind the index, and do not move it. The signature counts as valid.
# Pillow's second image is "not a JPEG file". libultrahdr, which searches for the map, still decodes HDR. Files that have the
# index behind JFIF, as Pillow writes them, are right after both.
# Hurt: whoever reads the gain map, or a second image, by the index: HDR is lost without a message of the tool that moved it.
# Guess 1.6 and 1.8. Fails if that changes.
# One run from a bare environment: 8 s of processor time, 83 MB.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
"$folder/venv/bin/python" -m pip install --quiet --no-compile numpy==2.4.6 pillow==12.3.0 imagecodecs==2026.3.6 pyexiv2==2.16.0 c2pa-python==0.38.1 cryptography==50.0.2
found=$("$folder/venv/bin/python" - <<'PY'
import datetime as dt
import io
import json
import pathlib

import c2pa
import imagecodecs
import numpy as np
import pyexiv2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import oid
from PIL import Image


def signed(content, kind):
    """Signed by a certificate made here: a chain of two, as the standard requires."""
    keys, now, chain = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)], dt.datetime.now(dt.UTC), b""
    for name, key, issues in (("own", keys[0], False), ("issuer", keys[1], True)):
        subject, issuer = (
            x509.Name([x509.NameAttribute(oid.NameOID.ORGANIZATION_NAME, "T"), x509.NameAttribute(oid.NameOID.COMMON_NAME, one)])
            for one in (name, "issuer")
        )
        made = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        made = made.not_valid_before(now - dt.timedelta(1)).not_valid_after(now + dt.timedelta(9))
        made = made.add_extension(x509.BasicConstraints(issues, None), True)
        made = made.add_extension(x509.KeyUsage(not issues, *[False] * 4, issues, issues, *[False] * 2), True)
        made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        made = made.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[1].public_key()), False)
        if not issues:
            made = made.add_extension(x509.ExtendedKeyUsage([oid.ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        chain += made.sign(keys[1], hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    forms = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo("es256", chain, keys[0].private_bytes(*forms), None))
    source = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
    actions = {"actions": [{"action": "c2pa.created", "digitalSourceType": source}]}
    about = {"claim_generator_info": [{"name": "test"}], "assertions": [{"label": "c2pa.actions.v2", "data": actions}]}
    c2pa.Builder(about).sign(signer, kind, io.BytesIO(content), result := io.BytesIO())
    return result.getvalue()


def with_author(content, kind):
    path = pathlib.Path("photo.jpg")
    path.write_bytes(content)
    with pyexiv2.Image(str(path)) as image:
        image.modify_exif({"Exif.Image.Artist": "Ann"})
    return path.read_bytes()


def second(content):
    """What the index names as the second image."""
    image = Image.open(io.BytesIO(content))
    try:
        image.seek(1)
    except SyntaxError as error:
        return error
    return "{} x {}".format(*image.size)


scene = np.ones((128, 256, 4), np.float16)
scene[:, 128:, :3] = 4
Image.new("RGB", (256, 128)).save(file := io.BytesIO(), "MPO", save_all=True, append_images=[Image.new("RGB", (96, 64))])
for name, content in (("libultrahdr", bytes(imagecodecs.ultrahdr_encode(scene))), ("Pillow", file.getvalue())):
    for tool, change in (("none", lambda content, kind: content), ("c2pa", signed), ("exiv2", with_author)):
        changed, state, peak = change(content, "image/jpeg"), "", ""
        if tool == "c2pa":
            state = json.loads(c2pa.Reader("image/jpeg", io.BytesIO(changed)).json())["validation_state"]
        if name == "libultrahdr":
            peak = f" HDR {imagecodecs.ultrahdr_decode(changed)[64, 200, 0]:.0f}"
        print(f"{name}, {tool}: {state}{' ' * bool(state)}second image {second(changed)}{peak}")
PY
)
echo "$found"
expected=$(cat <<'END'
libultrahdr, none: second image 256 x 128 HDR 4
libultrahdr, c2pa: Valid second image not a JPEG file HDR 4
libultrahdr, exiv2: second image not a JPEG file HDR 4
Pillow, none: second image 96 x 64
Pillow, c2pa: Valid second image 96 x 64
Pillow, exiv2: second image 96 x 64
END
)
[ "$found" = "$expected" ]
