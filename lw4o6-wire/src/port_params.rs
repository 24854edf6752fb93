//! Port sets: offset, length and PSID (RFC 7597 §5.1).
