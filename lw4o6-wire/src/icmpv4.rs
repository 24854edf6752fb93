//! ICMPv4 messages (RFC 792, RFC 1191, RFC 4884).
