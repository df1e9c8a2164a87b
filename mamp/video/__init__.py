"""Video and masks in, pictures and films out: frames of files and folders, label maps, overlays, rendered
clips.
"""
