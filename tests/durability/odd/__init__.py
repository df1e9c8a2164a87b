"""Odd inputs by kind, and the contract that every command keeps with them."""
