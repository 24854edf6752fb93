//! The tunnel source address of a B4 (RFC 7596 §5.1).
