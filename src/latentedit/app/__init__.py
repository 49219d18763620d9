"""The page in the browser: `latentedit app`. gradio is imported here and nowhere else, and reports nothing home."""

import os

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # gradio reads it when it is imported
