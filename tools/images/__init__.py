"""The images: built, labelled, named, carried."""
