"""Read what an overlay's upper directory says about the snapshot below it; walks that directory alone."""
