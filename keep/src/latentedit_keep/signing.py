"""Content credentials (C2PA) for a result of `keep`, signed with the user's own certificate. Needs c2pa-python."""

import importlib
import importlib.metadata
import io
import json
import re
from pathlib import Path
from typing import Any

from latentedit_keep.base.errors import ConfigError, MissingDependencyError, OutputError, to_install
from latentedit_keep.base.files import read_text
from latentedit_keep.base.provenance import WITH_AI

_MOST_PEM_BYTES = 1_000_000
_MIME = {
    ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".jpe": "image/jpeg", ".jfif": "image/jpeg",
    ".webp": "image/webp", ".tif": "image/tiff", ".tiff": "image/tiff", ".avif": "image/avif", ".heic": "image/heic",
    ".heif": "image/heif", ".gif": "image/gif", ".jxl": "image/jxl",
}  # fmt: skip
_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
# Nothing is fetched: neither manifests that a file only links to, nor the state of a certificate.
_OFFLINE = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
_SOUND = ("Valid", "Trusted")  # the second, if the certificate's root is one that the library knows


def read_signer(pem: Path) -> Any:
    """The signer of a PEM file with a certificate, the rest of its chain, and the private key of the first.

    Raises:
        MissingDependencyError: c2pa-python is not installed.
        ConfigError: the file holds no certificate, no key, or what cannot sign.
    """
    try:
        c2pa: Any = importlib.import_module("c2pa")
        serialization: Any = importlib.import_module("cryptography.hazmat.primitives.serialization")
    except ImportError as error:
        remedy = to_install("latentedit-keep[c2pa]")
        raise MissingDependencyError(f"the package c2pa-python, which signs, is not installed. {remedy}") from error
    text = read_text(pem, limit=_MOST_PEM_BYTES, error=ConfigError)
    chain = re.findall(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----", text)
    found = re.search(r"-----BEGIN ([A-Z ]*)PRIVATE KEY-----[^-]+-----END \1PRIVATE KEY-----", text)
    if not chain or found is None:
        what = "certificate" if not chain else "private key that is not encrypted"
        raise ConfigError(f"{pem} contains no {what}. Put the certificates and the key into one PEM file")
    try:
        key = serialization.load_pem_private_key(found[0].encode(), None)
        pkcs8 = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        kind = "ps256" if "RSA" in type(key).__name__ else "ed25519"
        kind = _CURVES.get(key.curve.name, "") if hasattr(key, "curve") else kind
        return c2pa.Signer.from_info(c2pa.C2paSignerInfo(kind, "\n".join(chain).encode(), pkcs8, None))
    except Exception as error:  # of many types
        why = f"the certificate or key in {pem} cannot sign: {_line(error)}"
        raise ConfigError(f"{why}. Use one for document signing, with a key of EC, Ed25519 or RSA") from error


def signed(result: Path, signer: Any, *, original: Path, edited: Path, ai: bool) -> bytes:
    """The content of the file with credentials: the original as parent, the edited image as component.

    The library reads the content again; an `OutputError` is raised unless it finds the credentials valid.
    """
    for file in (result, original, edited):
        if file.suffix.lower() not in _MIME:
            remedy = "Use PNG, JPEG, WebP, TIFF or AVIF, or leave out the signature"
            raise OutputError(f"content credentials do not support the format of {file.name}. {remedy}")
    c2pa: Any = importlib.import_module("c2pa")
    kind, made = _MIME[result.suffix.lower()], io.BytesIO()
    version = importlib.metadata.version("latentedit-keep")
    source = {"digitalSourceType": WITH_AI} if ai else {}
    actions = [
        {"action": "c2pa.opened", "parameters": {"ingredientIds": ["original"]}},
        {"action": "c2pa.placed", "parameters": {"ingredientIds": ["edited"]}, **source},
        {"action": "c2pa.edited", **source},
    ]
    manifest = {
        "claim_generator_info": [{"name": "latentedit keep", "version": version}],
        "title": result.name,
        "format": kind,
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": actions}}],
    }
    try:
        context = c2pa.Context(c2pa.Settings.from_dict(_OFFLINE))
        builder = c2pa.Builder(manifest, context=context)
        for role, relation, path in (("original", "parentOf", original), ("edited", "componentOf", edited)):
            about = {"title": path.name, "relationship": relation, "label": role}
            with path.open("rb") as file:
                builder.add_ingredient(about, _MIME[path.suffix.lower()], file)
        with result.open("rb") as file:
            builder.sign(signer, kind, file, made)
        made.seek(0)
        reader = c2pa.Reader(kind, made, context=context)
        state, report = reader.get_validation_state(), json.loads(reader.json())
    except Exception as error:  # of many types
        raise OutputError(f"{result.name} could not be signed: {_line(error)}. Leave out the signature") from error
    if state not in _SOUND:
        codes = ", ".join(sorted({one["code"] for one in report.get("validation_status", ())}))
        raise OutputError(f"the credentials of {result.name} are not valid ({codes}). Use another certificate")
    return made.getvalue()


def _line(error: Exception) -> str:
    return " ".join(f"{error}".split()).rstrip(".") or type(error).__name__
