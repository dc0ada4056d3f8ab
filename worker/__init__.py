"""What happens to a spooled message: tasks, pipeline, relay, bounces, sweeper."""
