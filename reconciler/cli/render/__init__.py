"""Values become text: for people, for programs, for CI."""
