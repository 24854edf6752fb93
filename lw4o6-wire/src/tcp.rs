//! TCP flags and the maximum segment size option (RFC 9293).
