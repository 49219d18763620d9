"""The pack for ComfyUI, without ComfyUI."""
