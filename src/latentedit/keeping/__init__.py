"""Any editor's change on the original's own pixels: alignment, tones, what changed, and how it is put back.

Needs OpenCV (the extra ``keep``), and neither torch nor a model. Pictures are ``[height, width, 3]`` float32 in
[0, 255]; matrices are 3 x 3 and take centres of the original's pixels to those of the edited picture.
"""
