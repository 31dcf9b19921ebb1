"""Publish an image: plan, push, test, name."""
