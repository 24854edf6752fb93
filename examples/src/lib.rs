//! Library half of the reference programs.
