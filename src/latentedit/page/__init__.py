"""The page in the browser: `latentedit app`. Here, and in the library's tab, gradio is imported; it reports nothing."""

import os

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # gradio reads it when it is imported
