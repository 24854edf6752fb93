//! Neighbor Solicitation and Advertisement (RFC 4861).
