"""Content credentials (C2PA) for a result of `keep`, signed with the user's own certificate. Needs c2pa-python."""

import importlib
import importlib.metadata
import io
import json
import re
from pathlib import Path
from typing import Any

from latentedit_keep.floor.errors import ConfigError, MissingDependencyError, OutputError, to_install
from latentedit_keep.floor.files import read_text
from latentedit_keep.photo.images import opened
from latentedit_keep.photo.provenance import WITH_AI
from latentedit_keep.photo.saving import format_of

_MOST_PEM_BYTES = 1_000_000
_MIME = {  # by Pillow's names of formats
    "PNG": "image/png", "JPEG": "image/jpeg", "MPO": "image/jpeg", "WEBP": "image/webp", "TIFF": "image/tiff",
    "AVIF": "image/avif", "HEIF": "image/heic", "GIF": "image/gif",
}  # fmt: skip
_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
# Nothing is fetched: neither manifests that a file only links to, nor the state of a certificate.
# Thumbnails would be enlarged to 1024 px and, in WebP, lossless: ten times the file.
_SETTINGS = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    "builder": {"thumbnail": {"enabled": False}},
}
_SOUND = ("Valid", "Trusted")  # the second, if the certificate's root is one that the library knows


def read_signer(pem: Path) -> Any:
    """The signer of a PEM file with a private key, its certificate and the rest of the chain, in any order.

    Raises:
        MissingDependencyError: c2pa-python is not installed.
        ConfigError: the file holds no certificate, no key, a key of another certificate, or what cannot sign.
    """
    try:
        c2pa: Any = importlib.import_module("c2pa")
        serialization: Any = importlib.import_module("cryptography.hazmat.primitives.serialization")
        x509: Any = importlib.import_module("cryptography.x509")
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
        chain = [x509.load_pem_x509_certificate(one.encode()) for one in chain]
        ordered = [one for one in chain if one.public_key() == key.public_key()][:1]
        if not ordered or ordered[0].issuer == ordered[0].subject:
            names = "; ".join(one.subject.rfc4514_string() for one in chain)
            fault = "signed by itself" if ordered else f"not among those in the file ({names:.200})"
            raise ConfigError(f"the certificate of the private key in {pem} is {fault}. Add one that an issuer signed")
        while above := [one for one in chain if one.subject == ordered[-1].issuer and one not in ordered]:
            ordered.append(above[0])
        chain = [one.public_bytes(serialization.Encoding.PEM).decode() for one in ordered]
        return c2pa.Signer.from_info(c2pa.C2paSignerInfo(kind, "\n".join(chain).encode(), pkcs8, None))
    except ConfigError:
        raise
    except Exception as error:  # of many types
        why = f"the certificate or key in {pem} cannot sign: {_line(error)}"
        raise ConfigError(f"{why}. Use one for document signing, with a key of EC, Ed25519 or RSA") from error


def signed(result: Path, signer: Any, *, original: Path, edited: Path, ai: bool) -> bytes:
    """The content of the file with credentials: the original as parent, the edited image as component.

    The library reads the content again; an `OutputError` is raised unless it finds the credentials valid.
    """
    kind, kinds = _kind(result, format_of(result)), list[str]()
    for file in (original, edited):  # whose endings may be wrong
        with opened(file) as image:
            kinds.append(_kind(file, image.format))
    c2pa: Any = importlib.import_module("c2pa")
    made = io.BytesIO()
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
        context = c2pa.Context(c2pa.Settings.from_dict(_SETTINGS))
        builder = c2pa.Builder(manifest, context=context)
        roles = ("original", "parentOf", original), ("edited", "componentOf", edited)
        for (role, relation, path), its_kind in zip(roles, kinds, strict=True):
            about = {"title": path.name, "relationship": relation, "label": role}
            with path.open("rb") as file:
                builder.add_ingredient(about, its_kind, file)
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


def _kind(file: Path, name: str | None) -> str:
    """The type of a format, by Pillow's name of it."""
    if name not in _MIME:
        remedy = "Use PNG, JPEG, WebP, TIFF or AVIF, or leave out the signature"
        raise OutputError(f"content credentials do not support the format of {file.name}. {remedy}")
    return _MIME[name]


def _line(error: Exception) -> str:
    return " ".join(f"{error}".split()).rstrip(".") or type(error).__name__
