//! ICMPv6 messages (RFC 4443).
