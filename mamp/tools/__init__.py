"""What a person runs once on data: fetch, check, pack, hold out, bring into one layout."""
