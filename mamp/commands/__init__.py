"""The commands of `mamp`, one file each: `add(commands)` puts it into the parser. No torch at import."""
