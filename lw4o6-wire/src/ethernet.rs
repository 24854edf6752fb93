//! Ethernet II frames and 802.1Q tags.
