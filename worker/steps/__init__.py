"""The steps of the pipeline that are not the relay."""
