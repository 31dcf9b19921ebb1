"""Servers that a user could pick instead of ours, made and booted to be measured beside it."""
