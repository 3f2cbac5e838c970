//! The command clara.
fn main() {}
