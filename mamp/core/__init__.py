"""What every room stands on: errors, whole files, settings in layers, progress, devices."""
