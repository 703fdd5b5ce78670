"""Reading the machine: kept descriptors over /proc and /sys, and exact figures at phase edges."""
