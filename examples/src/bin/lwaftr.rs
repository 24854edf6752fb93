//! The lwAFTR program.
fn main() {}
