"""From a tag to what clients boot: releases of channels, the hooks that guard them, and the way back."""
