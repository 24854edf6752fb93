//! IPv6 extension headers (RFC 8200 §4).
