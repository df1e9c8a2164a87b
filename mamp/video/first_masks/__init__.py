"""A person's masks, as people make them -> label maps. `read` is the one reader; data sets are read strictly.

`reading.py` begins; `picture.py` opens image files; `flat.py` finds the flat colours of a picture and gives
soft pixels to them, `unblur.py` sharpens; `meaning.py` says which object a colour is; `annotations.py` reads
labelme, COCO, YOLO and .npy files.
"""
