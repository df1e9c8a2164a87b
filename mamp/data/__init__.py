"""Files in, tensors out: frames, masks, data sets, clips; knows no method."""
