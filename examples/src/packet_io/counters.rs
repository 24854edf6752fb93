//! What interfaces count.

use serde::Serialize;

/// What an interface counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct IoCounters {
    /// Frames received and passed on.
    pub received: u64,
    /// Frames sent.
    pub transmitted: u64,
    /// Frames that were longer than the interface's MTU allows; segments that a sender on the same
    /// machine had not cut, or a receiver had joined.
    pub too_long: u64,
    /// Checksums completed for a sender on the same machine.
    pub checksums_completed: u64,
    /// VLAN tags put back.
    pub tags_restored: u64,
    /// Frames that the kernel did not take.
    pub not_sent: u64,
    /// Frames that the kernel dropped because we were late.
    pub kernel_drops: u64,
}

impl IoCounters {
    /// What an operator should know about, in words; only what happened.
    pub fn remarkable(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let all = [
            (
                "frames too long for the interface, not taken; turn offloads off at the sender: ethtool -K IF tso off gso off gro off",
                self.too_long,
            ),
            ("frames not sent", self.not_sent),
            (
                "frames lost in the kernel because we were late",
                self.kernel_drops,
            ),
        ];
        all.into_iter().filter(|&(_, count)| count > 0)
    }
}
