"""What differs between two snapshots: an ordered walk of both that skips equal trees."""
