"""Krita 5: *Tools > Scripts > Keep only the change*, by the installed command ``latentedit keep``.

The active layer is the edit, the one below it the original. Above both comes a layer of the change, with its opacity
(*Layer > Split > Split Alpha into Mask* makes a mask of it).
To install: copy this folder and the file ``keep_only_the_change.desktop`` into ``pykrita`` of Krita's resource folder
(*Settings > Manage Resources > Open Resource Folder*), and switch it on in *Settings > Configure Krita > Python Plugin
Manager*.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from krita import Extension, InfoObject, Krita
from PyQt5.QtCore import QRect, Qt
from PyQt5.QtGui import QImage
from PyQt5.QtWidgets import QApplication, QFileDialog, QMessageBox

TITLE = "Keep only the change"
_SECONDS = 600  # after which the command is ended
_SETTING = ("latentedit", "command")  # group and name, in Krita's settings


class KeepError(Exception):
    """Remedy for the user, in one line."""


class KeepOnlyTheChange(Extension):
    """Adds the menu entry."""

    def setup(self):
        """Krita calls it; there is nothing to prepare."""

    def createActions(self, window):  # noqa: N802 (Krita's name)
        window.createAction("keep_only_the_change", TITLE, "tools/scripts").triggered.connect(self.run)

    def run(self):
        document = Krita.instance().activeDocument()
        QApplication.setOverrideCursor(Qt.WaitCursor)
        try:
            keep(document)
        except KeepError as error:
            QApplication.restoreOverrideCursor()
            QMessageBox.warning(None, TITLE, str(error))
        else:
            QApplication.restoreOverrideCursor()


def keep(document):
    """Add a layer of the change above the active layer."""
    edit, original = pair_of(document)
    with tempfile.TemporaryDirectory() as folder:
        names = [str(Path(folder, f"{name}.png")) for name in ("original", "edited", "kept", "change")]
        area = QRect(0, 0, document.width(), document.height())
        krita = Krita.instance()
        asks = not krita.batchmode()
        krita.setBatchmode(True)  # no dialog of options for PNG
        try:
            for layer, name in zip((original, edit), names, strict=False):
                layer.save(name, document.xRes(), document.yRes(), _fast(), area)
        finally:
            krita.setBatchmode(not asks)
        run_command(["keep", *names[:2], "-o", names[2], "--save-layer", names[3], "--quiet"])
        add_layer(document, edit, QImage(names[3]))


def pair_of(document):
    """The active layer and the one below it."""
    if document is None:
        raise KeepError("Open an image with two layers: the original, and above it the edited image.")
    kind = (document.colorModel(), document.colorDepth())
    if kind != ("RGBA", "U8"):
        raise KeepError(f"The image is {kind[0]}, {kind[1]}. Use Image > Convert Image Color Space: RGB, 8 bits.")
    edit = document.activeNode()
    siblings = edit.parentNode().childNodes()  # the lowest first
    place = [one.uniqueId() for one in siblings].index(edit.uniqueId())
    if place == 0:
        raise KeepError("Select the layer of the edited image; the layer below it is taken as the original.")
    return edit, siblings[place - 1]


def run_command(arguments):
    """Run `latentedit`, and raise its own words if it refuses."""
    line = [command(), *arguments]
    # Krita may bring a Python of its own, whose modules are not those of the command.
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    try:
        ended = subprocess.run(line, capture_output=True, text=True, timeout=_SECONDS, env=own, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KeepError(f"{line[0]} did not run: {error}") from error
    if ended.returncode:
        raise KeepError(ended.stderr.strip() or f"{line[0]} ended with code {ended.returncode}.")


def command():
    """Path of the command: on the PATH, as chosen before, or chosen now."""
    krita, found = Krita.instance(), shutil.which("latentedit")
    found = found or krita.readSetting(*_SETTING, "")
    if not Path(found).is_file():
        QApplication.restoreOverrideCursor()
        found, _ = QFileDialog.getOpenFileName(None, "Where is the command latentedit? (pip install ./keep)")
        if not found:
            raise KeepError("The command latentedit was not found. Install it: pip install ./keep")
        krita.writeSetting(*_SETTING, found)
    return found


def add_layer(document, below, change):
    """A layer of the change, with its opacity, above a layer, which is hidden."""
    change = change.convertToFormat(QImage.Format_ARGB32)
    width, height = change.width(), change.height()
    layer = document.createNode(TITLE, "paintlayer")
    layer.setPixelData(change.bits().asstring(4 * width * height), 0, 0, width, height)
    below.parentNode().addChildNode(layer, below)
    below.setVisible(False)
    document.refreshProjection()


def _fast():
    options = InfoObject()
    for name, value in (("alpha", True), ("compression", 1), ("forceSRGB", False), ("saveSRGBProfile", False)):
        options.setProperty(name, value)
    return options


Krita.instance().addExtension(KeepOnlyTheChange(Krita.instance()))
