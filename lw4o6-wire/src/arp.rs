//! Address Resolution Protocol for Ethernet and IPv4 (RFC 826).
