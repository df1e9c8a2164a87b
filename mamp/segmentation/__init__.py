"""The frame loop: frames and given masks in, label maps, files and scores out; knows only `Propagator`."""
