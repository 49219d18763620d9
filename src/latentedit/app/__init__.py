"""The page's tab *Edit*: `latentedit app` with the library. gradio is imported here and in keep's page only."""
